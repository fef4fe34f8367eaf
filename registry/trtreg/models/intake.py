"""Files on their way into the registry: made ready where that was asked for, then added with their lineage."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from trtreg.core.preparation import PrepareOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.lineage import Lineage
    from trtreg.core.model import ModelVersion
    from trtreg.core.names import ModelName
    from trtreg.core.outline import Outline
    from trtreg.core.preparation import Preparation
    from trtreg.interfaces import Progress, Store, Workshop
    from trtreg.models.models import Models

_PROGRAMS = (b"PK\x03\x04", b"\x80", b"\n")
"""How PyTorch's and TensorFlow's files begin: a zip archive, a bare pickle, or a graph, unlike any of ONNX."""
_TFLITE = b"TFL3"
"""From the fifth byte on."""
_SAVED_MODEL = "saved_model.pb"
"""In the folder that TensorFlow saves."""


class Intake:
    """Adds files, and draws what was added.

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

    def add(
        self,
        name: str,
        file: Path,
        preparation: Preparation,
        *,
        samples: Mapping[str, Path],
        aliases: Iterable[str] = (),
        tags: Mapping[str, str],
        note: str = "",
        tolerance: Mapping[str, float],
    ) -> tuple[ModelVersion, bool]:
        """Do to `file` what `preparation` says, PyTorch's and TensorFlow's exported to ONNX before, and register what
        comes of it as the newest version of `name`; whether it is a new one. The file itself is never written to.

        Raises UsageError, NotFound, UnusableModel; Untrusted for what would run as code.
        """

        def register(path: Path, lineage: Lineage | None = None) -> tuple[ModelVersion, bool]:
            return self._models.add(
                name,
                path,
                samples=samples,
                aliases=aliases,
                tags=tags,
                note=note,
                tolerance=tolerance,
                lineage=lineage,
                progress=self._progress,
            )

        if not (preparation.changes_graph or preparation.is_for_programs or _may_be_program(file)):
            return register(file)
        with self._work_folder() as folder:
            order = PrepareOrder(file=file.absolute(), folder=folder, preparation=preparation)
            prepared = self._workshop.prepare(order, self._progress)
            return register(prepared.path, prepared.lineage)

    def outline(self, name: ModelName) -> tuple[ModelVersion, Outline]:
        """The version that `name` selects, and what its graph looks like. Raises NotFound, UnusableModel."""
        version = self._models.find(name)
        source = version.facts.source
        with self._work_folder() as folder:
            for file in source.files:
                self._store.fetch_blob(file, folder / file.name, self._progress)
            return version, self._workshop.outline(folder / source.entry, self._progress)


def _may_be_program(file: Path) -> bool:
    with suppress(OSError):  # What can't be read, who reads it says better.
        if file.name == _SAVED_MODEL or (file / _SAVED_MODEL).is_file():
            return True
        if file.is_file():
            with file.open("rb") as opened:
                head = opened.read(8)
                return head.startswith(_PROGRAMS) or head[4:] == _TFLITE
    return False
