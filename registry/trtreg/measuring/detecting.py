"""A fetched engine at work: brings it here and has it look at pictures and videos, in a child process."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from trtreg.core.detection import DetectOrder
from trtreg.errors import UsageError
from trtreg.storage.reaching import reaching
from trtreg.storage.use import in_use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from trtreg.core.detection import DetectReport, Source
    from trtreg.core.model import ModelVersion
    from trtreg.core.request import Asked, Request
    from trtreg.core.sample import Pictures
    from trtreg.finding import Engine
    from trtreg.interfaces import Progress, Workshop
    from trtreg.making.making import Maker


class Viewer:
    """Shows what an engine sees.

    pose     what a request comes to on this machine
    get      the engine that answers it, on this machine
    plugins  the libraries that an engine needs, by SHA-256
    """

    def __init__(
        self,
        *,
        pose: Callable[[Request], Asked],
        get: Callable[..., Engine],
        maker: Maker,
        workshop: Workshop,
        plugins: Callable[[Iterable[str]], Mapping[str, Path]],
        work_folder: Callable[[], AbstractContextManager[Path]],
        progress: Progress,
    ) -> None:
        self._pose, self._get, self._maker, self._workshop = pose, get, maker, workshop
        self._plugins, self._work_folder, self._progress = plugins, work_folder, progress

    def detect(
        self,
        request: Request,
        given: Sequence[Path],
        *,
        output: str = "",
        build: bool = True,
        preprocess: str = "",
        family: str = "",
        names: Mapping[str, str] | None = None,
        confidence: float = 0.25,
        overlap: float = 0.45,
        beside: bool = False,
    ) -> DetectReport:
        """Have the engine of `request` look at the pictures and videos `given`, and at those in folders among them.

        output      a folder for the files with boxes, or the one file that one source becomes
        build       whether a miss may be built; if not, it raises Miss
        preprocess  how a picture becomes what the model takes; empty to go by the model's samples of pictures, or else
                    by its input
        family      what its outputs mean; empty to go by the samples, or else by the outputs
        names       of the classes, by number
        beside      whether ONNX Runtime's run of the original is shown, too

        A file that can't be read is told in the report. Raises NotFound for one that isn't there, UsageError,
        Unreachable, and what getting an engine raises.
        """
        from trtreg.tasks.sources import find_sources

        for what, share in (("confidence", confidence), ("overlap", overlap)):
            if not 0 < share < 1:
                raise UsageError(f"the {what} {share:g} doesn't lie between 0 and 1")
        sources = find_sources(given, output)
        # Made first: who can't write there needn't wait for a build.
        with _drafts_for(sources) as drafts, self._work_folder() as folder:
            asked = self._pose(request)
            engine = self._get(request, build=build)
            manifest = engine.manifest
            known = _pictures_of(asked.version)
            order = DetectOrder(
                sources=sources,
                plan=engine.path,
                backend=manifest.target.runtime,
                title=f"{manifest.target.runtime} {manifest.recipe.precision}",
                model=self._maker.bring_model(asked.version, folder),
                drafts=drafts,
                preprocess=preprocess or (known.preprocess if known else ""),
                family=family or (known.family if known else ""),
                names=names or {},
                confidence=confidence,
                overlap=overlap,
                beside=beside,
                gpu=asked.chosen.gpu,
                plugins=self._plugins(manifest.recipe.builder.plugins),
            )
            with in_use(manifest.plan.folder_of(engine.path)):
                return self._workshop.detect(order, self._progress)


def _pictures_of(version: ModelVersion) -> Pictures | None:
    """What the model's samples of pictures say alike; None where there are none, or where they contradict."""
    said = [sample.pictures for sample in version.samples if sample.pictures]
    alike = {(pictures.preprocess, pictures.family) for pictures in said}
    return said[0] if len(alike) == 1 else None


@contextmanager
def _drafts_for(sources: Sequence[Source]) -> Iterator[Path]:
    """An empty folder beside the results: what is whole is renamed into its place, what isn't goes with the folder."""
    place = Path(os.path.commonpath([source.destination.absolute().parent for source in sources]))
    is_new = not place.exists()
    with reaching(f"make a folder in {place}"):
        place.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=".trtreg-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if is_new:
            # Whoever gets no results needs no folder for them.
            with suppress(OSError):
                place.rmdir()
