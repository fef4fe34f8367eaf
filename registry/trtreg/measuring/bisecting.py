"""Where an engine's accuracy is lost: brings the model and its samples here, and has the search made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.recipe import Precision
from trtreg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.bisection import Bisection
    from trtreg.core.target import Target
    from trtreg.interfaces import Progress, Workshop
    from trtreg.making.making import Maker
    from trtreg.models.models import Models
    from trtreg.review import Reviewer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Anywhere:
    """The target of an engine, on a machine that needn't be able to run it: only its rewritten model is run."""

    target: Target
    why: str = ""
    provable: bool = False
    gpu: str = ""
    gpu_name: str = ""

    @property
    def backend(self) -> str:
        return self.target.runtime


class Bisector:
    """Searches on any machine, for an engine in any state: a rejected one above all."""

    def __init__(
        self,
        *,
        models: Models,
        reviewer: Reviewer,
        maker: Maker,
        workshop: Workshop,
        work_folder: Callable[[], AbstractContextManager[Path]],
        progress: Progress,
    ) -> None:
        self._models, self._reviewer, self._maker = models, reviewer, maker
        self._workshop, self._work_folder, self._progress = workshop, work_folder, progress

    def bisect(self, key_prefix: str, *, most_tests: int = 60) -> Bisection:
        """What the recipe of the engine whose key begins so must keep in fp32, besides what it keeps.

        Judged by the model's samples and its tolerance of today. Raises NotFound; UsageError for an engine in fp32,
        which has nothing to give back.
        """
        manifest = self._reviewer.engine(key_prefix).manifest
        if manifest.recipe.precision is Precision.FP32:
            raise UsageError(f"{manifest.key[:12]} is in fp32: there is nothing to keep")
        version = self._models.source_of(manifest)
        with self._work_folder() as folder:
            order = self._maker.order(version, _Anywhere(target=manifest.target), manifest.question, folder)
            return self._workshop.bisect(order, most_tests, self._progress)
