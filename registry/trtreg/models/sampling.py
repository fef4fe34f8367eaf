"""Samples on their way in: tensors as they are, pictures packed with their labels into one file, checked either way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trtreg.core.sample import Sample
from trtreg.core.work import PackOrder
from trtreg.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.model import ModelVersion
    from trtreg.core.names import ModelName
    from trtreg.core.sample import PictureFolder
    from trtreg.interfaces import Progress, Store, Workshop
    from trtreg.models.models import Models


class Sampler:
    """Adds samples to a version.

    work_folder  a context of an empty folder
    """

    def __init__(
        self,
        *,
        models: Models,
        store: Store,
        workshop: Workshop,
        work_folder: Callable[[], AbstractContextManager[Path]],
        progress: Progress,
    ) -> None:
        self._models, self._store, self._workshop = models, store, workshop
        self._work_folder, self._progress = work_folder, progress

    def add_tensors(self, name: ModelName, label: str, file: Path, *, requirements: Iterable[str] = ()) -> ModelVersion:
        """Register an .npz of inputs. Raises NotFound, UsageError."""
        self._models.check_sample_words([label], requirements)
        version = self._models.find(name, fresh=True)
        sample = self._models.keep_tensors(label, file, version.facts, self._progress)
        return self._models.add_sample(version, sample, requirements)

    def add_pictures(
        self, name: ModelName, label: str, pictures: PictureFolder, *, requirements: Iterable[str] = ()
    ) -> ModelVersion:
        """Register pictures with what people saw in them. Every one is read, and the model is run on the first. Raises
        NotFound, UsageError, UnusableModel."""
        self._models.check_sample_words([label], requirements)
        if not pictures.images.is_dir():
            raise NotFound(f"there is no folder of pictures at {pictures.images}")
        version = self._models.find(name, fresh=True)
        source = version.facts.source
        with self._work_folder() as folder:
            model, made = folder / "model", folder / "sample"
            made.mkdir()
            for file in source.files:
                self._store.fetch_blob(file, model / file.name, self._progress)
            packed = self._workshop.pack(
                PackOrder(
                    model=model / source.entry,
                    signature=version.facts.signature,
                    pictures=pictures.absolute(),
                    folder=made,
                ),
                self._progress,
            )
            for note in packed.notes:
                self._progress.say(note)
            file = replace(packed.file, name=f"{label}.zip")
            self._progress.stage("store", label)
            self._store.put_blob(made / packed.file.name, file, self._progress)
            sample = Sample(name=label, file=file, pictures=packed.pictures)
            return self._models.add_sample(version, sample, requirements)
