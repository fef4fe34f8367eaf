"""Making one engine: bring the model, have it rewritten, built and judged, write down what came of it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trtreg.core.key import Question
from trtreg.core.manifest import Manifest, Provenance
from trtreg.core.refit import refits
from trtreg.core.request import Chosen
from trtreg.core.task_figures import require_measurable
from trtreg.core.verdict import GateReport, Verdict, tolerance_for
from trtreg.core.work import Built, RefitFrom, SampleFile, WorkOrder
from trtreg.errors import BuildFailed, Rejected, UsageError
from trtreg.making.refits import Refits
from trtreg.making.repeating import build_repeatedly
from trtreg.making.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trtreg.core.engine import EngineRecord
    from trtreg.core.files import StoredFile
    from trtreg.core.model import ModelVersion
    from trtreg.core.sample import Sample
    from trtreg.core.variance import Variance
    from trtreg.interfaces import Progress, Store, Workshop
    from trtreg.making.plugins import Plugins
    from trtreg.publishing import Publisher
    from trtreg.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A plan that passed the gate, or that nobody here could run; `folder` holds its files."""

    manifest: Manifest
    folder: Path

    def hand_over(self, file: StoredFile, destination: Path) -> None:
        """Give one of the plan's files away, by link where the file system can, so that it isn't copied twice."""
        source = self.folder / file.name
        with suppress(OSError):
            os.link(source, destination)
            return
        shutil.copyfile(source, destination)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An engine that the gate has seen again: its record with the new report, and its files."""

    manifest: Manifest
    report: GateReport
    folder: Path


class Maker:
    """Makes engines and judges them.

    now        UTC, ISO 8601
    versions   of trtreg and what else takes part on this side
    authorise  raises for who couldn't publish what is made, before the work rather than after it
    """

    def __init__(
        self,
        *,
        store: Store,
        workshop: Workshop,
        publisher: Publisher,
        plugins: Plugins,
        now: Callable[[], str],
        host: str,
        versions: Mapping[str, str],
        authorise: Callable[[], None],
        progress: Progress,
    ) -> None:
        self._store, self._workshop, self._publisher, self._plugins = store, workshop, publisher, plugins
        self._now, self._host, self._versions, self._progress = now, host, versions, progress
        self.authorise = authorise
        self._refits = Refits(store, publisher.has_published, workshop, progress)

    def make(
        self,
        version: ModelVersion,
        chosen: Chosen,
        question: Question,
        folder: Path,
        watch: Stopwatch,
        *,
        afresh: bool = False,
        repeat: int = 1,
    ) -> Made:
        """Build what is asked for in the empty `folder`, or refit a plan of the same graph, unless it is to be made
        `afresh`. Of `repeat` builds, the best. Raises BuildFailed; Rejected, with the report kept."""
        self.authorise()
        _require_measurable(version)
        with watch("materialise"):
            order = self.order(version, chosen, question, folder)
        source = None if afresh or not refits(question.recipe) else self._find_source(order, watch)
        variance = None
        if repeat > 1:
            built, variance = self._best(order, repeat, watch)
        else:
            built = self._refitted(order, source, watch) if source else self._built(order, watch)
        manifest = self._manifest(version, question, built, variance)
        self._progress.stage("publish", f"{built.plan.size / 1e6:.1f} MB")
        if built.gate is not None and built.gate.verdict is not Verdict.PASSED:
            with watch("publish"):
                self._publisher.reject(manifest, built.folder, self._progress)
            raise _rejection(manifest, version)
        self._refits.keep(manifest, built.stripped, built.stripped_folder, replace=afresh)
        return Made(manifest=manifest, folder=built.folder)

    def _find_source(self, order: WorkOrder, watch: Stopwatch) -> RefitFrom | None:
        with watch("source"):
            return self._refits.bring(order)

    def _refitted(self, order: WorkOrder, source: RefitFrom, watch: Stopwatch) -> Built:
        """The plan made of `source`; built in full where that fails, crashes or doesn't pass the gate, since a refit
        may save time and must cost nobody an engine."""
        self._progress.say(f"refitting the plan {source.plan_digest[:12]}, which has the same graph")
        try:
            built = self._built(replace(order, refit_from=source), watch)
        except BuildFailed as failure:
            why = failure.message
        else:
            if built.gate is None or built.gate.verdict is Verdict.PASSED:
                return built
            why = f"the gate rejects it: {' '.join(built.gate.reasons[:1])}"
        note = f"built in full, as the refit of {source.plan_digest} failed: {why}"
        self._progress.say(note)
        folder = order.folder / "in-full"
        folder.mkdir()
        built = self._built(replace(order, folder=folder), watch)
        return replace(built, notes=(*built.notes, note))

    def _best(self, order: WorkOrder, repeat: int, watch: Stopwatch) -> tuple[Built, Variance]:
        # Without timings of other builds: a tactic that was timed once would be taken again by all of them.
        with watch("workshop"):
            built, its_order, variance = build_repeatedly(
                order, repeat, lambda one: self._workshop.build(one, self._progress), self._progress
            )
        self._keep_log(built, its_order)
        return built, variance

    def _built(self, order: WorkOrder, watch: Stopwatch) -> Built:
        with watch("workshop"), Timings(self._store).lent(order.target, order.folder):
            built = self._workshop.build(order, self._progress)
        watch.split("workshop", built.seconds)
        self._keep_log(built, order)
        return built

    def _keep_log(self, built: Built, order: WorkOrder) -> None:
        if built.log:
            self._store.put_blob(order.folder / built.log.name, built.log, self._progress)

    def judge_again(self, record: EngineRecord, version: ModelVersion, chosen: Chosen, folder: Path) -> Judged:
        """Run the gate over an engine's plan as the store has it."""
        self.authorise()
        _require_measurable(version)
        manifest = record.manifest
        order = self.order(version, chosen, manifest.question, folder)
        plan = self.bring_plan(manifest, folder)
        report = self._workshop.gate(order, plan, self._progress)
        judged = replace(manifest, gate=report)
        self._refits.keep(judged)
        return Judged(manifest=judged, report=report, folder=manifest.plan.folder_of(plan))

    def order(self, version: ModelVersion, chosen: Chosen, question: Question, folder: Path) -> WorkOrder:
        """The order for one build, its files brought from the store into `folder`."""
        model = self.bring_model(version, folder)
        samples = [self.bring_sample(sample, folder) for sample in version.samples]
        recipe = question.recipe
        return WorkOrder(
            model=model,
            model_digest=question.model_digest,
            signature=version.facts.signature,
            backend=chosen.backend,
            recipe=recipe,
            target=question.target,
            folder=folder,
            tolerance=tolerance_for(recipe.precision, version.tolerance),
            samples=tuple(samples),
            requirements=version.requirements,
            calibration=next((s for s in samples if s.sha256 == recipe.calibration), None),
            prove=chosen.provable,
            gpu=chosen.gpu,
            plugins=self._plugins.paths(recipe.builder.plugins),
        )

    def bring_model(self, version: ModelVersion, folder: Path) -> Path:
        """The original's files, brought from the store into `folder`; the one to load."""
        source = version.facts.source
        for file in source.files:
            self._store.fetch_blob(file, folder / "model" / file.name, self._progress)
        return folder / "model" / source.entry

    def bring_sample(self, sample: Sample, folder: Path) -> SampleFile:
        """A sample's file, brought from the store into `folder`."""
        path = folder / "samples" / sample.file.name
        self._store.fetch_blob(sample.file, path, self._progress)
        return SampleFile(name=sample.name, sha256=sample.file.sha256, path=path, pictures=sample.pictures)

    def bring_plan(self, manifest: Manifest, folder: Path) -> Path:
        """An engine's files, brought from the store into `folder`, by plan, as a key may have several; the one to
        load."""
        place = folder / "plans" / manifest.plan_digest
        for file in manifest.plan.files:
            if not (place / file.name).exists():
                self._store.fetch_blob(file, place / file.name, self._progress)
        return place / manifest.plan.entry

    def _manifest(
        self, version: ModelVersion, question: Question, built: Built, variance: Variance | None = None
    ) -> Manifest:
        return Manifest(
            key=question.key,
            model_digest=question.model_digest,
            recipe=question.recipe,
            target=question.target,
            rewritten_digest=built.rewritten_digest,
            graph_digest=built.graph_digest,
            plan=built.plan,
            gate=built.gate,
            provenance=Provenance(
                model=str(version),
                built_at=self._now(),
                host=self._host,
                seconds=built.seconds,
                versions={**self._versions, **built.versions},
                notes=built.notes,
                log=built.log,
                variance=variance,
            ),
        )


def _require_measurable(version: ModelVersion) -> None:
    """Before the work: an engine whose requirements can't be measured couldn't be published."""
    try:
        require_measurable(version.requirements, version.samples, f"{version}'s samples")
    except ValueError as error:
        raise UsageError(
            f"no engine of {version} can pass the gate: {error}",
            hint=f"trtreg sample add {version} NAME IMAGES --labels FILE …; or require less: "
            f"trtreg model require {version.name} --clear",
        ) from None


def _rejection(manifest: Manifest, version: ModelVersion) -> Rejected:
    reasons = manifest.gate.reasons if manifest.gate else ()
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    builds = manifest.provenance.variance.attempts if manifest.provenance.variance else ()
    which = f"all {len(builds)} builds of {version}" if builds else str(version)
    return Rejected(
        f"the gate rejects {which} ({manifest.recipe.precision}): {' '.join(reasons[:1])}{more}",
        hint=f"trtreg show {manifest.key[:12]}/{manifest.plan_digest[:12]} has the report; "
        "--keep-fp32 OP|NODE keeps parts in fp32",
    )
