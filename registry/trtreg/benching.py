"""How fast engines are: brings them here and has them run in turn beside ONNX Runtime's run of the original."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trtreg.core.benchmark import BenchOrder, BenchReport, Contender
from trtreg.core.target import runs_on
from trtreg.errors import Miss, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.engine import EngineRecord
    from trtreg.core.model import ModelVersion
    from trtreg.core.request import Chosen
    from trtreg.core.work import SampleFile
    from trtreg.interfaces import Progress, Store, Workshop
    from trtreg.making import Maker
    from trtreg.models import Models
    from trtreg.review import Reviewer


class Bencher:
    """Measures on this machine; nothing is written down yet.

    choose  this machine's backend and target for the runtime of a plan, on the GPU `device`
    """

    def __init__(
        self,
        *,
        models: Models,
        store: Store,
        reviewer: Reviewer,
        maker: Maker,
        workshop: Workshop,
        work_folder: Callable[[], AbstractContextManager[Path]],
        choose: Callable[..., Chosen],
        progress: Progress,
    ) -> None:
        self._models, self._store, self._reviewer, self._maker = models, store, reviewer, maker
        self._workshop, self._work_folder = workshop, work_folder
        self._choose, self._progress = choose, progress

    def bench(
        self, keys: Sequence[str], *, rounds: int = 100, warm_up: int = 10, sample: str = "", device: str = ""
    ) -> BenchReport:
        """Latency and throughput of the engines whose keys begin so, all of one model.

        sample  of the model, whose first case is run; without it, the only one there is, else drawn inputs

        Raises NotFound, UsageError; Miss for an engine that this machine can't run.
        """
        if rounds < 1 or warm_up < 0:
            raise UsageError("at least one round is measured")
        records = [self._reviewer.verified(key) for key in keys]
        version = self._model_of(records)
        chosen = [self._machine_for(record, device) for record in records]
        with self._work_folder() as folder:
            order = self._maker.order(version, chosen[0], records[0].manifest.question, folder)
            contenders = [self._brought(record, folder) for record in records]
            return self._workshop.bench(
                BenchOrder(
                    model=order.model,
                    signature=order.signature,
                    recipe=order.recipe,
                    sample=_sample(version, order.samples, sample),
                    contenders=tuple(_told_apart(contenders)),
                    rounds=rounds,
                    warm_up=warm_up,
                    gpu=next((c.gpu for c in chosen if c.gpu), ""),
                    plugins=order.plugins,
                ),
                self._progress,
            )

    def _model_of(self, records: Sequence[EngineRecord]) -> ModelVersion:
        digests = {record.manifest.model_digest for record in records}
        if len(digests) != 1:
            names = ", ".join(dict.fromkeys(record.manifest.provenance.model for record in records))
            raise UsageError(
                f"engines of one model are compared with its original, and these are of {names or 'none'}",
                hint="call it once for each model",
            )
        version = self._models.source_of(records[0].manifest)
        if version is None:
            raise NotFound(
                f"no model has the contents that {records[0].manifest.key[:12]} was made from", hint="add it again"
            )
        return version

    def _machine_for(self, record: EngineRecord, device: str) -> Chosen:
        target = record.manifest.target
        try:
            chosen = self._choose(target.runtime, device=device)
        except UsageError as refusal:
            raise Miss(
                f"this machine can't run {record.manifest.key[:12]}: {refusal.message}", hint=f"it takes {target}"
            ) from None
        if not runs_on(chosen.target, target):
            raise Miss(
                f"this machine can't run {record.manifest.key[:12]}",
                hint=f"it takes {target}, and this is {chosen.target}",
            )
        return chosen

    def _brought(self, record: EngineRecord, folder: Path) -> Contender:
        manifest = record.manifest
        # By plan, as a key may have several of them.
        place = folder / "plans" / manifest.plan_digest
        for file in manifest.plan.files:
            if not (place / file.name).exists():
                self._store.fetch_blob(file, place / file.name, self._progress)
        return Contender(
            name=f"{manifest.target.runtime} {manifest.recipe.precision}",
            key=manifest.key,
            backend=manifest.target.runtime,
            plan=place / manifest.plan.entry,
        )


def _told_apart(contenders: Sequence[Contender]) -> list[Contender]:
    """By name where it is enough; with the beginning of the key where two have the same."""
    names = [contender.name for contender in contenders]
    return [replace(c, name=f"{c.name} {c.key[:12]}") if names.count(c.name) > 1 else c for c in contenders]


def _sample(version: ModelVersion, samples: Sequence[SampleFile], name: str) -> SampleFile | None:
    if not name:
        return samples[0] if len(samples) == 1 else None
    found = next((sample for sample in samples if sample.name == name), None)
    if found is None:
        there = ", ".join(sample.name for sample in samples) or "none"
        raise NotFound(f"{version} has no sample {name!r}", hint=f"its samples: {there}")
    return found
