"""Running the gate over engines that exist: again over published ones, for the first time over those in quarantine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.compatibility import claim, why_not
from trtreg.core.engine import EngineRecord
from trtreg.core.lifecycle import EngineState
from trtreg.core.verdict import GateReport, Verdict
from trtreg.errors import Miss, TrtregError, UsageError
from trtreg.paging import by_pages

if TYPE_CHECKING:
    from trtreg.core.key import Key
    from trtreg.core.manifest import Manifest
    from trtreg.core.request import Chosen
    from trtreg.core.target import Target
    from trtreg.interfaces import Catalog, PlanCache, Progress
    from trtreg.making.leasing import Turns
    from trtreg.making.making import Judged, Maker
    from trtreg.models.models import Models
    from trtreg.publishing import Publisher


class Prover:
    """Judges engines on this machine, and lets their state follow the verdict.

    choose  this machine's backend and target for the runtime of a plan, on the GPU `device`
    turns   whose turn it is to work on a key, among all machines, and on a GPU
    """

    def __init__(
        self,
        *,
        models: Models,
        catalog: Catalog,
        publisher: Publisher,
        maker: Maker,
        cache: PlanCache,
        work_folder: Callable[[], AbstractContextManager[Path]],
        choose: Callable[..., Chosen],
        turns: Turns,
        progress: Progress,
    ) -> None:
        self._turns = turns
        self._models, self._catalog, self._publisher, self._maker = models, catalog, publisher, maker
        self._cache, self._work_folder, self._choose, self._progress = cache, work_folder, choose, progress

    def judge(self, record: EngineRecord, *, device: str = "") -> GateReport:
        """Run the gate over one engine, on one of this machine's GPUs if it takes one.

        A published engine that fails is withdrawn; a rejected one that passes, under a wider tolerance or on other
        samples, is published; so is one from quarantine. Raises Miss for a plan that this machine can't run.
        """
        report = self._judge(record, device=device, made=lambda: False, retry=True)
        assert report is not None
        return report

    def prove(self, key: Key, *, retry: bool = False) -> GateReport | None:
        """Run the gate over the plan that waits in quarantine for `key`; None if another machine has proven it
        meanwhile. Raises what `judge` does, and a failure that is remembered, unless `retry`."""
        waiting = self._publisher.find_unproven(key)
        if waiting is None:
            return None
        asked = self._lacks(waiting)
        made_at = waiting.provenance.built_at
        # Its place in the catalog's order matters to nobody here, and the catalog may not list it.
        record = EngineRecord(number=0, manifest=waiting, state=EngineState.UNPROVEN, blessed=False, created_at=made_at)
        return self._judge(record, device="", made=lambda: self.lacking(key) != asked, retry=retry)

    def lacking(self, key: Key) -> Target | None:
        """The machine that a plan in quarantine for `key` waits for: of several architectures the first on which it
        is unproven. None if nothing waits."""
        waiting = self._publisher.find_unproven(key)
        return None if waiting is None else self._lacks(waiting)

    def _lacks(self, manifest: Manifest) -> Target:
        each = manifest.target.architecture.split(",")
        # Proven on each, and still waiting: who proved it on the last is about to publish it for all, or died before.
        unproven = next((a for a in each if not self._is_proven_for(manifest, a)), each[-1])
        return replace(manifest.target, architecture=unproven)

    def _judge(self, record: EngineRecord, *, device: str, made: Callable[[], bool], retry: bool) -> GateReport | None:
        manifest = self._publisher.verified(record)
        record = replace(record, manifest=manifest)
        version = self._models.source_of(manifest)
        chosen = self._machine_for(manifest, device)
        if not _loads(chosen.target, manifest):
            raise Miss(
                f"this machine can't run {manifest.key[:12]}: {why_not(chosen.target, manifest.question)}",
                hint=f"it takes {manifest.target}",
            )
        with (
            self._cache.lock(manifest.key, self._tell_waiting),
            self._turns.only(manifest.key, made=made, retry=retry) as ours,
            self._work_folder() as folder,
        ):
            if not ours:
                return None
            self._progress.stage("begin")
            with self._turns.on_gpu(chosen.gpu):
                judged = self._maker.judge_again(record, version, chosen, folder)
            if judged.report.verdict is not Verdict.PASSED:
                self._withdraw(judged, chosen.target)
            elif record.state is not EngineState.PUBLISHED or not _is_made_for(manifest, chosen.target):
                self._publish(judged, chosen.target)
        return judged.report

    def judge_waiting(self, *, device: str = "") -> Iterator[tuple[EngineRecord, GateReport | TrtregError]]:
        """Run the gate over every engine in quarantine that this machine can run, and publish those that pass.

        Gives each of them with its report, or with the error that kept it from being judged.
        """
        for record in self._unproven():
            try:
                if self._can_prove(record.manifest, device):
                    yield record, self.judge(record, device=device)
            except TrtregError as error:
                yield record, error

    def waiting(self) -> Iterator[Manifest]:
        """What waits in quarantine and this machine could prove."""
        for record in self._unproven():
            if self._can_prove(record.manifest, ""):
                yield record.manifest

    def _unproven(self) -> Iterator[EngineRecord]:
        return by_pages(
            lambda last, most: self._catalog.engines(state=EngineState.UNPROVEN, after=last, limit=most),
            lambda record: record.number,
            after=None,
        )

    def _can_prove(self, manifest: Manifest, device: str) -> bool:
        try:
            here = self._choose(manifest.target.runtime, device=device).target
        except TrtregError:
            return False  # That runtime isn't here at all.
        is_lacking = self._lacks(manifest).architecture == here.architecture
        return _loads(here, manifest) and (is_lacking or not self._is_proven_for(manifest, here.architecture))

    def _machine_for(self, manifest: Manifest, device: str) -> Chosen:
        try:
            return self._choose(manifest.target.runtime, device=device)
        except UsageError as refusal:
            if device:
                raise
            # Nobody asked for that runtime: the plan needs it.
            raise Miss(
                f"this machine can't run {manifest.key[:12]}: {refusal.message}", hint=f"it takes {manifest.target}"
            ) from None

    def _publish(self, judged: Judged, here: Target) -> None:
        """Publish a plan for the machine that has proven it.

        A plan for several architectures is published under each one's own key as it is proven there, and under its
        own key once all have proven it: what ran on one GPU says nothing about another. So is one that claims to run
        on more than it was made for, whose own key needs no more than the GPU that it was made for.
        """
        manifest = judged.manifest
        if manifest.target.architecture != here.architecture:
            alone = _for_architecture(manifest, here.architecture)
            self._publisher.publish(alone, judged.folder, self._progress)
        if not _is_made_for(manifest, here):
            return
        architectures = manifest.target.architecture.split(",")
        if len(architectures) == 1 or all(self._is_proven_for(manifest, a) for a in architectures):
            self._publisher.publish(manifest, judged.folder, self._progress)

    def _withdraw(self, judged: Judged, here: Target) -> None:
        """The verdict belongs to the plan: it goes for the key of this architecture alone, too. A claim that doesn't
        hold on this GPU takes nothing from those that the plan was made for."""
        manifest = judged.manifest
        if not _is_made_for(manifest, here):
            self._publisher.reject(_for_architecture(manifest, here.architecture), judged.folder, self._progress)
            return
        if manifest.target.architecture != here.architecture and self._is_proven_for(manifest, here.architecture):
            alone = _for_architecture(manifest, here.architecture)
            self._publisher.reject(alone, judged.folder, self._progress)
        self._publisher.reject(manifest, judged.folder, self._progress)

    def _is_proven_for(self, manifest: Manifest, architecture: str) -> bool:
        alone = _for_architecture(manifest, architecture)
        return self._publisher.has_published(alone.key, manifest.plan_digest)

    def _tell_waiting(self, holder: str) -> None:
        self._progress.say(f"another process is making this engine ({holder}); waiting for it")


def _loads(here: Target, manifest: Manifest) -> bool:
    """Whether the plan can be tried here. Of version-compatible ones only those of the version at hand: loading one of
    another would run the code that it carries."""
    same_version = here.runtime_version == manifest.target.runtime_version
    return same_version and claim(here, manifest.question) is not None


def _is_made_for(manifest: Manifest, here: Target) -> bool:
    return here.architecture in manifest.target.architecture.split(",")


def _for_architecture(manifest: Manifest, architecture: str) -> Manifest:
    """The same plan as the answer to the question for one architecture alone."""
    target = replace(manifest.target, architecture=architecture)
    question = replace(manifest.question, target=target)
    return replace(manifest, target=target, key=question.key)
