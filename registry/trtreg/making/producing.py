"""Having an engine made: whose turn it is, the build, its publication, and its way into this machine's cache."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from trtreg.errors import Miss, ReadOnly, Rejected, TrtregError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.manifest import Manifest
    from trtreg.core.request import Asked
    from trtreg.finding import Engine, Finder
    from trtreg.interfaces import PlanCache, Progress
    from trtreg.making.leasing import Turns
    from trtreg.making.making import Made, Maker
    from trtreg.publishing import Publisher
    from trtreg.review import Reviewer
    from trtreg.stopwatch import Stopwatch

_WORTH_SAYING = 5.0
"""Seconds of an expected build. Who waits for less needn't be told."""


class Producer:
    """Builds what is missing, one of all machines at a time.

    work_folder  a context of an empty folder for one build, on the cache's file system
    prepare      makes ready what publishing needs
    turns        whose turn it is to build, among all machines
    """

    def __init__(
        self,
        *,
        finder: Finder,
        maker: Maker,
        publisher: Publisher,
        reviewer: Callable[[], Reviewer],
        cache: PlanCache,
        work_folder: Callable[[], AbstractContextManager[Path]],
        prepare: Callable[[], object],
        turns: Turns,
        progress: Progress,
    ) -> None:
        self._finder, self._maker, self._publisher, self._reviewer = finder, maker, publisher, reviewer
        self._cache, self._work_folder, self._prepare = cache, work_folder, prepare
        self._turns, self._progress = turns, progress

    def turn(self, asked: Asked, *, rebuild: bool, retry: bool) -> AbstractContextManager[bool]:
        """The same among all machines: whether it is ours to build; if not, another has built it meanwhile."""

        def made() -> bool:
            return not rebuild and self._finder.in_store(asked.key) is not None

        return self._turns.only(asked.key, made=made, retry=retry or rebuild)

    def build(self, asked: Asked, watch: Stopwatch, *, rebuild: bool, repeat: int = 1) -> Manifest:
        """Build it, or the best of `repeat` builds, and have it in the store; the manifest of what is then in force
        there."""
        self._require_means(asked, rebuild=rebuild)
        self._refuse_if_rejected_before(asked, rebuild=rebuild)
        with self._work_folder() as folder:
            made = self._make(asked, folder, watch, rebuild=rebuild, repeat=repeat)
            if rebuild:
                self._cache.forget(asked.key)
            return self._settle(made, replace=rebuild)

    def _require_means(self, asked: Asked, *, rebuild: bool) -> None:
        """Raise UsageError for what couldn't be published: before the work, not after it. Where nobody has asked for a
        build, a store that is only read makes it a Miss."""
        try:
            self._maker.authorise()
        except ReadOnly as refusal:
            if rebuild:
                raise
            raise Miss(
                f"no engine of {asked}, and none can be built here: {refusal.message}", hint=refusal.hint
            ) from None

    def _make(self, asked: Asked, folder: Path, watch: Stopwatch, *, rebuild: bool, repeat: int) -> Made:
        self._progress.stage("begin")
        with self._turns.on_gpu(asked.chosen.gpu):
            watch.lap("wait")
            return self._maker.make(
                asked.version, asked.chosen, asked.question, folder, watch, afresh=rebuild, repeat=repeat
            )

    def build_and_serve(
        self, asked: Asked, watch: Stopwatch, *, rebuild: bool, allow_unproven: bool, repeat: int = 1
    ) -> Engine:
        """The same, and have it in this machine's cache, too."""
        self._require_means(asked, rebuild=rebuild)
        self._refuse_if_rejected_before(asked, rebuild=rebuild)
        self._progress.say(f"building {asked} ({asked.chosen.why})")
        self._prepare_meanwhile(asked)
        with self._work_folder() as folder:
            made = self._make(asked, folder, watch, rebuild=rebuild, repeat=repeat)
            with watch("publish"):
                served = self._settle(made, replace=rebuild)
            if served.gate is None:
                if found := self._finder.unless_revoked(asked, watch):
                    self._progress.say("the new plan waits to be proven; the engine that there is goes on being served")
                    return found
                return self._finder.from_quarantine(
                    asked, served, made.hand_over, "built", watch, allowed=allow_unproven
                )
            ours = served.plan_digest == made.manifest.plan_digest
            return self._finder.admit(served, made.hand_over if ours else self._finder.fetch, watch)

    def _settle(self, made: Made, *, replace: bool) -> Manifest:
        """Publish what passed the gate, quarantine what nobody could run; the engine that is then in force."""
        manifest = made.manifest
        if manifest.gate is None:
            manifest = self._publisher.quarantine(manifest, made.folder, self._progress)
        if manifest.gate is None:
            return manifest
        return self._publisher.publish(manifest, made.folder, self._progress, replace=replace)

    def _prepare_meanwhile(self, asked: Asked) -> None:
        """Import what publishing needs while the child works: it takes a quarter of a second. It also knows how long
        like builds took."""
        from threading import Thread

        def prepare() -> None:
            # What is wrong will be said where it is needed.
            with suppress(TrtregError):
                self._prepare()
                expected = self._reviewer().expected_seconds(asked)
                if expected and expected > _WORTH_SAYING:
                    self._progress.say(f"by history it takes about {expected:.0f} s")

        Thread(target=prepare, daemon=True).start()

    def _refuse_if_rejected_before(self, asked: Asked, *, rebuild: bool) -> None:
        """A rejected plan is not built again for nothing: the same recipe would fail on the same numbers."""
        report = None if rebuild else self._reviewer().rejection(asked)
        if report is not None:
            raise Rejected(
                f"the gate has rejected {asked.version} ({asked.request.wish}) before: {report.reasons[0]}",
                hint=f"trtreg show {asked.key[:12]} has the report; --rebuild tries again",
            )
