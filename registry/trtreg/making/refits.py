"""Plans in the store from which a fine-tune of a known model is refitted instead of being built.

A fine-tune has its model's graph and other weights. Where the recipe lets weights be replaced, the plan that was built
first is kept as a source for all that follow: its blobs, and then a record by recipe, target and graph. A source
counts only while the engine that was made of it is published: what the gate withdraws takes its source along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtreg.core.builder_settings import Weights
from trtreg.core.records import MalformedRecord
from trtreg.core.refit import RefitSource, read_refit_source, refit_prefix, refits, write_refit_source
from trtreg.core.verdict import Verdict
from trtreg.core.work import RefitFrom
from trtreg.errors import NotFound, Unreachable, Untrusted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trtreg.core.files import FileSet
    from trtreg.core.key import Key
    from trtreg.core.manifest import Manifest
    from trtreg.core.recipe import Recipe
    from trtreg.core.target import Target
    from trtreg.core.work import WorkOrder
    from trtreg.interfaces import Progress, Store, Workshop

FOLDER = "refit-source"
"""In the folder of a build's order."""


class Refits:
    """The sources in one store.

    is_published  whether the plan of that digest is published under that key
    """

    def __init__(
        self, store: Store, is_published: Callable[[Key, str], bool], workshop: Workshop, progress: Progress
    ) -> None:
        self._store, self._is_published = store, is_published
        self._workshop, self._progress = workshop, progress

    def bring(self, order: WorkOrder) -> RefitFrom | None:
        """A source for the order, its files fetched into the order's folder; None where the plan must be built.

        What is wrong with a source is said and no error: the plan is built then.
        """
        if not (refits(order.recipe) and order.prove):
            return None
        try:
            # Only the rewritten model tells the graph, and rewriting takes a second: not for nothing.
            if next(iter(self._store.record_names(refit_prefix(order.recipe, order.target))), None) is None:
                return None
            source = self.find(order.recipe, order.target, self._workshop.graph(order, self._progress))
            if source is None:
                return None
            for file in source.plan.files:
                self._store.fetch_blob(file, order.folder / FOLDER / file.name, self._progress)
        except (MalformedRecord, NotFound, Unreachable, Untrusted) as error:
            self._progress.say(f"built in full, as what it could be refitted from is of no use: {error}")
            return None
        return RefitFrom(plan_digest=source.plan.digest, path=order.folder / FOLDER / source.plan.entry)

    def find(self, recipe: Recipe, target: Target, graph_digest: str) -> RefitSource | None:
        """The source for that recipe, target and graph. Raises MalformedRecord, and as the store does."""
        name = f"{refit_prefix(recipe, target)}{graph_digest}.json"
        text = self._store.read_record(name)
        source = None if text is None else read_refit_source(text, name)
        return source if source and self._is_published(source.key, source.engine) else None

    def keep(
        self,
        manifest: Manifest,
        stripped: FileSet | None = None,
        folder: Path | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Keep what an engine that passed the gate was made of as a source, unless there is one that counts; with
        `replace`, also then. `folder` holds the files of the plan that is `stripped` of its weights; a refittable
        engine is its own source, and a stripped one that was refitted is none."""
        passed = manifest.gate is not None and manifest.gate.verdict is Verdict.PASSED
        is_own = manifest.recipe.builder.weights is not Weights.STRIPPED
        if not (passed and manifest.graph_digest and (stripped or is_own)):
            return
        if stripped and folder:
            for file in stripped.files:
                self._store.put_blob(folder / file.name, file, self._progress)
        source = RefitSource(
            graph_digest=manifest.graph_digest,
            recipe=manifest.recipe,
            target=manifest.target,
            plan=stripped or manifest.plan,
            key=manifest.key,
            engine=manifest.plan_digest,
        )
        if replace or (not self._store.insert_record(source.name, write_refit_source(source)) and self._lapsed(source)):
            self._store.replace_record(source.name, write_refit_source(source))

    def _lapsed(self, wanted: RefitSource) -> bool:
        try:
            return self.find(wanted.recipe, wanted.target, wanted.graph_digest) is None
        except MalformedRecord:
            return True
