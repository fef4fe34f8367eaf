"""What engines are good for: has them built, brings them here, and has them run beside the original."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trtreg.core.benchmark import Contender
from trtreg.core.evaluation import EvalOrder, Evaluation, Row
from trtreg.core.lifecycle import EngineState
from trtreg.core.recipe import Precision, Recipe
from trtreg.core.target import runs_on
from trtreg.errors import BuildFailed, NotFound, Rejected, Revoked, TrtregError, UnusableModel, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.evaluation import Measured, Trial
    from trtreg.core.manifest import Manifest
    from trtreg.core.model import ModelVersion
    from trtreg.core.names import ModelName
    from trtreg.core.request import Chosen, Request
    from trtreg.core.sample import PictureFolder
    from trtreg.core.work import SampleFile
    from trtreg.interfaces import Progress, Store, Workshop
    from trtreg.making.making import Maker
    from trtreg.publishing import Publisher
    from trtreg.registry import Registry
    from trtreg.review import Reviewer

_LACKING = (BuildFailed, NotFound, Revoked, UnusableModel, UsageError)
"""Why there may be no engine: none of these keeps the others from being measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An engine that is asked for: `manifest` is None where there is none, and `reason` says why it isn't served. `gpu`
    is the UUID of the one that it runs on, and `gpu_name` its name."""

    name: str
    state: str
    reason: str = ""
    manifest: Manifest | None = None
    gpu: str = ""
    gpu_name: str = ""


class Evaluator:
    """Measures on this machine; nothing is written down but the engines that had to be built.

    plugins  the libraries that an engine needs, by SHA-256
    choose   this machine's backend and target for the runtime of a plan, on the GPU `device`
    """

    def __init__(
        self,
        *,
        registry: Registry,
        publisher: Publisher,
        reviewer: Reviewer,
        store: Store,
        maker: Maker,
        workshop: Workshop,
        plugins: Callable[[Iterable[str]], Mapping[str, Path]],
        work_folder: Callable[[], AbstractContextManager[Path]],
        choose: Callable[..., Chosen],
        progress: Progress,
    ) -> None:
        self._registry, self._publisher, self._reviewer = registry, publisher, reviewer
        self._store, self._maker, self._workshop, self._work_folder = store, maker, workshop, work_folder
        self._plugins, self._choose, self._progress = plugins, choose, progress

    def evaluate(
        self,
        name: ModelName,
        requests: Sequence[Request],
        *,
        keys: Sequence[str] = (),
        sample: str = "",
        pictures: PictureFolder | None = None,
        shown: int = 0,
        limit: int = 0,
        coco: bool = False,
        device: str = "",
    ) -> tuple[Evaluation, dict[str, bytes]]:
        """The engines that answer `requests`, built if there are none, and those whose keys begin so, all of one model,
        beside its original; and the JPEGs of at most `shown` pictures, by their file's name.

        An engine that can't be built or run here has a row that says why; one that the gate has rejected is measured
        all the same, as long as its plan is kept.

        sample    of the model, on which all run; without it, the only labelled or the only one, else drawn inputs
        pictures  run on these instead
        limit     how many cases of it are taken; 0 for all
        coco      measure in COCO's way, too

        Raises NotFound, UsageError; UnusableModel for a model that ONNX Runtime doesn't run.
        """
        version = self._registry.models.find(name, fresh=True)
        found = [*(self._asked(request) for request in requests), *(self._named(key, version) for key in keys)]
        found = _told_apart([self._runnable(candidate, device) for candidate in found])
        with self._work_folder() as folder:
            taken = None if pictures else self._brought_sample(version, sample, folder)
            previews = folder / "previews"
            previews.mkdir()
            measured = self._workshop.evaluate(
                EvalOrder(
                    model=self._maker.bring_model(version, folder),
                    signature=version.facts.signature,
                    recipe=Recipe(),
                    sample=taken,
                    pictures=pictures.absolute() if pictures else None,
                    contenders=tuple(self._brought(c.name, c.manifest, folder) for c in found if c.manifest),
                    folder=previews,
                    shown=shown,
                    limit=limit,
                    coco=coco,
                    gpu=next((c.gpu for c in found if c.gpu), ""),
                    plugins=self._plugins(p for c in found if c.manifest for p in c.manifest.recipe.builder.plugins),
                ),
                self._progress,
            )
            jpegs = {picture.file: (previews / picture.file).read_bytes() for picture in measured.shown}
        of_what = pictures.images.name if pictures else taken.name if taken else ""
        return _evaluation(version, of_what, found, measured), jpegs

    # --- who takes part ------------------------------------------------------------------------------------

    def _asked(self, request: Request) -> Candidate:
        name = f"{request.backend} {request.wish}"
        try:
            name = f"{self._choose(request.backend, device=request.device).backend} {request.wish}"
            manifest = self._registry.build(request)
        except Rejected as refusal:
            kept = self._publisher.rejected(self._registry.pose(request).key)
            return self._kept(name, kept[0]) if kept else _absent(name, refusal)
        except _LACKING as lack:
            return _absent(name, lack)
        state = EngineState.PUBLISHED if manifest.gate else EngineState.UNPROVEN
        return Candidate(name=name, state=str(state), manifest=manifest)

    def _named(self, key: str, version: ModelVersion) -> Candidate:
        record = self._reviewer.verified(key)
        manifest = record.manifest
        if manifest.model_digest != version.facts.digest:
            raise UsageError(
                f"{manifest.key[:12]} is an engine of {manifest.provenance.model}, and {version} is evaluated",
                hint="engines of one model are compared with its original",
            )
        name = f"{manifest.target.runtime} {_wish(manifest.recipe)}"
        if record.state is EngineState.REJECTED:
            return self._kept(name, manifest)
        return Candidate(name=name, state=str(record.state), manifest=manifest)

    def _kept(self, name: str, manifest: Manifest) -> Candidate:
        """One that the gate has rejected, with its plan as long as the store has it."""
        reasons = manifest.gate.reasons if manifest.gate else ()
        reason = reasons[0] + (f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else "") if reasons else ""
        there = all(self._store.has_blob(file) for file in manifest.plan.files)
        return Candidate(
            name=name,
            state=str(EngineState.REJECTED),
            reason=reason if there else f"{reason}; its plan isn't kept",
            manifest=manifest if there else None,
        )

    def _runnable(self, candidate: Candidate, device: str) -> Candidate:
        """The same, without its plan where this machine can't run it."""
        if candidate.manifest is None:
            return candidate
        target = candidate.manifest.target
        try:
            here = self._choose(target.runtime, device=device)
        except UsageError as refusal:
            return replace(candidate, manifest=None, reason=refusal.message)
        if not runs_on(here.target, target):
            return replace(candidate, manifest=None, reason=f"it takes {target}, and this is {here.target}")
        return replace(candidate, gpu=here.gpu, gpu_name=here.gpu_name)

    def _brought(self, name: str, manifest: Manifest, folder: Path) -> Contender:
        plan = self._maker.bring_plan(manifest, folder)
        return Contender(name=name, key=manifest.key, backend=manifest.target.runtime, plan=plan)

    def _brought_sample(self, version: ModelVersion, name: str, folder: Path) -> SampleFile | None:
        # Labelled pictures say what an engine is for; tensors are mostly there to calibrate.
        likely = [s for s in version.samples if s.pictures and s.pictures.labels] or version.samples
        found = version.sample_to_run(name, likely)
        return self._maker.bring_sample(found, folder) if found else None


def _absent(name: str, why: TrtregError) -> Candidate:
    return Candidate(name=name, state="absent", reason=why.message)


def requests_for(wish: Request, precisions: Sequence[Precision], backends: Sequence[str]) -> list[Request]:
    """One for each precision on each backend. What a precision has no use for is left out of its own."""
    return [
        replace(
            wish,
            backend=backend,
            precision=precision,
            keep_fp32=() if precision is Precision.FP32 else wish.keep_fp32,
            calibration=wish.calibration if precision.is_calibrated else "",
        )
        for backend in backends
        for precision in precisions
    ]


def _wish(recipe: Recipe) -> str:
    """As a request says it."""
    words = [str(recipe.precision), *map(str, recipe.profiles)]
    words += [f"{', '.join(recipe.keep_fp32)} kept in fp32"] if recipe.keep_fp32 else []
    words += [str(recipe.builder)] if recipe.builder.chosen else []
    return ", ".join(words)


def _told_apart(candidates: Sequence[Candidate]) -> list[Candidate]:
    """By name where it is enough; with the beginning of the plan's digest where two have the same. Each plan once."""
    unique = {(c.name, c.manifest.plan_digest if c.manifest else c.reason): c for c in candidates}.values()
    names = [candidate.name for candidate in unique]
    return [
        replace(c, name=f"{c.name} {c.manifest.plan_digest[:12]}") if names.count(c.name) > 1 and c.manifest else c
        for c in unique
    ]


def _evaluation(version: ModelVersion, sample: str, candidates: Sequence[Candidate], measured: Measured) -> Evaluation:
    trials = {trial.name: trial for trial in measured.trials}
    original = measured.trials[0]
    size = sum(file.size for file in version.facts.source.files)
    reference = Row(
        name=original.name, key="", state="reference", reason="", size=size, build_seconds=None, trial=original
    )
    rows = [_row(c, trials.get(c.name), measured.failures.get(c.name, "")) for c in candidates]
    # The child that measures knows the GPU by its number alone.
    gpus = dict.fromkeys(c.gpu_name for c in candidates if c.gpu_name and c.name in trials)
    setting = replace(measured.setting, gpu=", ".join(gpus))
    return Evaluation(model=str(version), sample=sample, rows=(reference, *rows), setting=setting, shown=measured.shown)


def _row(candidate: Candidate, trial: Trial | None, failure: str) -> Row:
    manifest = candidate.manifest
    return Row(
        name=candidate.name,
        key=manifest.key if manifest else "",
        state=candidate.state,
        reason="; ".join(filter(None, (candidate.reason, failure))),
        size=manifest.plan.size if manifest else 0,
        build_seconds=_building(manifest.provenance.seconds) if manifest else None,
        trial=trial,
    )


def _building(seconds: Mapping[str, float]) -> float:
    """Without the gate."""
    return sum(took for stage, took in seconds.items() if stage in ("rewrite", "build", "refit"))
