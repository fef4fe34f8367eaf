"""How fast engines are: brings them here and has them run in turn beside ONNX Runtime's run of the original."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trtreg.core.benchmark import BenchOrder, BenchReport, Contender
from trtreg.core.figures import Figures
from trtreg.core.target import runs_on
from trtreg.errors import Miss, TrtregError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.engine import EngineRecord
    from trtreg.core.model import ModelVersion
    from trtreg.core.request import Chosen
    from trtreg.interfaces import Progress, Workshop
    from trtreg.making.making import Maker
    from trtreg.measurements import Measurements
    from trtreg.models.models import Models
    from trtreg.review import Reviewer


class Bencher:
    """Measures on this machine, and keeps the figures with the engines.

    plugins    the libraries that an engine needs, by SHA-256
    choose     this machine's backend and target for the runtime of a plan, on the GPU `device`
    authorise  raises for who couldn't write to the store
    now        UTC, ISO 8601
    processor  of this machine, in words
    """

    def __init__(
        self,
        *,
        models: Models,
        reviewer: Reviewer,
        maker: Maker,
        workshop: Workshop,
        plugins: Callable[[Iterable[str]], Mapping[str, Path]],
        work_folder: Callable[[], AbstractContextManager[Path]],
        choose: Callable[..., Chosen],
        measurements: Measurements,
        authorise: Callable[[], None],
        now: Callable[[], str],
        host: str,
        processor: Callable[[], str],
        progress: Progress,
    ) -> None:
        self._models, self._reviewer, self._maker = models, reviewer, maker
        self._workshop, self._work_folder = workshop, work_folder
        self._plugins, self._choose, self._progress = plugins, choose, progress
        self._measurements, self._authorise = measurements, authorise
        self._now, self._host, self._processor = now, host, processor

    def bench(
        self,
        keys: Sequence[str],
        *,
        rounds: int = 100,
        warm_up: int = 10,
        sample: str = "",
        device: str = "",
        keep: bool = True,
    ) -> BenchReport:
        """Latency and throughput of the engines whose keys begin so, all of one model.

        sample  of the model, whose first case is run; without it, the only one there is, else drawn inputs
        keep    whether the figures are kept in the store; where it can't be written to, they are only told

        Raises NotFound, UsageError; Miss for an engine that this machine can't run.
        """
        if rounds < 1 or warm_up < 0:
            raise UsageError("at least one round is measured")
        records = [self._reviewer.verified(key) for key in keys]
        version = self._model_of(records)
        chosen = [self._machine_for(record, device) for record in records]
        taken = version.sample_to_run(sample, version.samples)
        with self._work_folder() as folder:
            contenders = [self._brought(record, folder) for record in records]
            report = self._workshop.bench(
                BenchOrder(
                    model=self._maker.bring_model(version, folder),
                    signature=version.facts.signature,
                    recipe=records[0].manifest.recipe,
                    sample=self._maker.bring_sample(taken, folder) if taken else None,
                    contenders=tuple(_told_apart(contenders)),
                    rounds=rounds,
                    warm_up=warm_up,
                    gpu=next((c.gpu for c in chosen if c.gpu), ""),
                    plugins=self._plugins(p for r in records for p in r.manifest.recipe.builder.plugins),
                ),
                self._progress,
            )
        if keep:
            self._keep(report, records, chosen)
        gpus = dict.fromkeys(here.gpu_name for here in chosen if here.gpu_name)
        return replace(report, processors=", ".join((self._processor(), *gpus)))

    def _keep(self, report: BenchReport, records: Sequence[EngineRecord], chosen: Sequence[Chosen]) -> None:
        original, *rows = report.rows
        try:
            self._authorise()
            for record, row, here in zip(records, rows, chosen, strict=True):
                self._measurements.keep(
                    Figures(
                        key=record.manifest.key,
                        plan_digest=record.manifest.plan_digest,
                        measured_at=self._now(),
                        host=self._host,
                        processor=here.gpu_name or self._processor(),
                        run=row.run,
                        original=original.run,
                        copies=row.copies,
                        resident=row.resident,
                        inputs=report.inputs,
                        rounds=report.rounds,
                        warm_up=report.warm_up,
                        threads=report.threads,
                        versions=report.versions,
                    )
                )
        except TrtregError as error:
            self._progress.say(f"the figures aren't kept with the engines: {error.message}")

    def _model_of(self, records: Sequence[EngineRecord]) -> ModelVersion:
        digests = {record.manifest.model_digest for record in records}
        if len(digests) != 1:
            names = ", ".join(dict.fromkeys(record.manifest.provenance.model for record in records))
            raise UsageError(
                f"engines of one model are compared with its original, and these are of {names or 'none'}",
                hint="call it once for each model",
            )
        return self._models.source_of(records[0].manifest)

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
        return Contender(
            name=f"{manifest.target.runtime} {manifest.recipe.precision}",
            key=manifest.key,
            backend=manifest.target.runtime,
            plan=self._maker.bring_plan(manifest, folder),
        )


def _told_apart(contenders: Sequence[Contender]) -> list[Contender]:
    """By name where it is enough; with the beginning of the key where two have the same."""
    names = [contender.name for contender in contenders]
    return [replace(c, name=f"{c.name} {c.key[:12]}") if names.count(c.name) > 1 else c for c in contenders]
