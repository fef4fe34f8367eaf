"""Builds and proofs on the farm: asked for here, made by a worker elsewhere, followed from here.

The row in the catalog says what is wanted, the lease who works on it; a message only wakes a worker up. `working` is
the worker's part.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from trtreg.core.build import PRIORITY, BuildRecord, BuildState, Wish, gained, gate_queue_of, queue_of
from trtreg.core.key import Key
from trtreg.core.lease import Failure, key_subject
from trtreg.core.names import ModelName
from trtreg.core.records import to_json
from trtreg.errors import Miss, NotFound, Unproven, Unreachable, UsageError
from trtreg.making.flight import despite_outage
from trtreg.paging import by_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trtreg.core.request import Asked, Request
    from trtreg.core.target import Target
    from trtreg.interfaces import Bell, Builds, Leases, Progress
    from trtreg.registry import Registry

_MANY = 100
"""Builds that are read to find the one whose id begins so."""
_LONGEST_LOOK = 2.0
"""Seconds between two looks at a build that takes long."""


class Farm:
    """Asks for builds, follows them, calls them off."""

    def __init__(self, *, builds: Builds, leases: Leases, bell: Bell, progress: Progress) -> None:
        self._builds, self._leases, self._bell, self._progress = builds, leases, bell, progress

    def want(self, asked: Asked, *, retry: bool = False, priority: int = PRIORITY) -> BuildRecord:
        """Ask for a build, or join the one that is under way. Raises a failure that is remembered, unless `retry`."""
        self._refuse_if_failed(asked.key, retry=retry)
        # What a GPU is called here means nothing elsewhere.
        pinned = ModelName(asked.version.name, version=asked.version.version)
        request = replace(asked.request, model=pinned, device="")
        wish = Wish(
            key=asked.key,
            request=to_json(request),
            model=f"{asked.version} ({asked.request.wish})",
            queue=queue_of(asked.question.target),
            priority=priority,
            retry=retry,
        )
        return self._asked_for(wish)

    def want_proof(
        self, key: Key, machine: Target, model: str, *, retry: bool = False, priority: int = PRIORITY
    ) -> BuildRecord:
        """Ask `machine` to run the gate over the plan that waits in quarantine for `key`, or join who works on it.
        Raises a failure that is remembered, unless `retry`."""
        self._refuse_if_failed(key, retry=retry)
        queue = gate_queue_of(machine)
        return self._asked_for(Wish(key=key, request="", model=model, queue=queue, priority=priority, retry=retry))

    def has_tried(self, key: Key, machine: Target) -> bool:
        """Whether that proof was ever asked for."""
        return any(record.queue == gate_queue_of(machine) for record in self._builds.builds(key=key))

    def is_served(self, record: BuildRecord) -> bool:
        """Whether a worker takes it, now or when it has a free hand; so it is said of a broker that doesn't answer."""
        if record.state is not BuildState.WANTED:
            return True
        try:
            return self._bell.is_served(record.queue)
        except Unreachable:
            return True

    def announce(self, record: BuildRecord) -> bool:
        """Say what is followed from now on, and whether a worker takes it, which is returned."""
        what = "proof" if record.is_proof else "build"
        self._progress.say(f"{what} {record.id} of {record.model} in {record.queue}")
        if not (served := self.is_served(record)):
            self._progress.say(f"no worker serves {record.queue}")
        return served

    def have_made(
        self,
        registry: Registry,
        request: Request,
        *,
        retry: bool = False,
        priority: int = PRIORITY,
        prove: bool = True,
        wait: bool = True,
    ) -> BuildRecord | None:
        """Have the engine built elsewhere, and proven where it runs, until `registry` serves it or says why not. What
        was asked for last, for those who don't `wait`; None if nothing had to be.

        Raises why it failed; Unproven where no worker has the machine that the plan waits for.
        """
        asked_for: list[BuildRecord] = []
        while record := self._next(registry, request, retry=retry, priority=priority, prove=prove):
            # What has been made and isn't served was refused: a second worker says why. It must not go on for ever.
            if sum(record.queue == earlier.queue for earlier in asked_for) > 1:
                break
            asked_for.append(record)
            if not wait:
                return record
            if not self.announce(record) and record.is_proof:
                return record  # There may never be one: whoever asks is told what the plan waits for.
            if error := self.follow(record.id).error():
                raise error
        return asked_for[-1] if asked_for else None

    def _next(
        self, registry: Registry, request: Request, *, retry: bool, priority: int, prove: bool
    ) -> BuildRecord | None:
        """What has to be done next for `request`, asked for; None if nothing has."""
        while True:
            try:
                registry.ask(request, build=False)
            except Unproven:
                if not prove:
                    return None
            except Miss:
                return self.want(registry.pose(request), retry=retry, priority=priority)
            else:
                return None
            asked = registry.pose(request)
            # None, if somebody has proven or rejected it since it was asked for just now: then that is the answer.
            if machine := registry.lacking(asked.key):
                model = f"{asked.version} ({asked.request.wish})"
                return self.want_proof(asked.key, machine, model, retry=retry, priority=priority)

    def _refuse_if_failed(self, key: Key, *, retry: bool) -> None:
        seen = self._leases.look(key_subject(key))
        if isinstance(seen, Failure) and not retry:
            raise seen.error()

    def _asked_for(self, wish: Wish) -> BuildRecord:
        record, is_new = self._builds.want(wish)
        if is_new:
            self._send(record)
        return record

    def follow(self, number: str) -> BuildRecord:
        """The build once it has ended; what it does meanwhile is shown. Whoever breaks off is told that it goes on."""
        try:
            return self._follow(number)
        except KeyboardInterrupt:
            say = self._progress.say
            say(f"the build {number} goes on: trtreg builds logs -f {number} follows it, trtreg builds cancel ends it")
            raise

    def _follow(self, number: str) -> BuildRecord:
        shown = ""
        for record, lines in self.watch(number):
            for line in lines:
                self._progress.say(line)
            if record.state.is_end:
                return record
            if (now := f"{record.state} {record.phase}".strip()) != shown:
                shown = now
                self._progress.stage("wait", _seen(now, record))
        raise AssertionError("a build is watched until it has ended")

    def watch(self, number: str) -> Iterator[tuple[BuildRecord, list[str]]]:
        """The build, and the lines that its log has gained: again and again, until it has ended."""
        log, wait = "", 0.05
        while True:
            record = despite_outage(lambda: self.build(number))
            yield record, gained(log, record.log)
            if record.state.is_end:
                return
            log = record.log
            time.sleep(wait)
            wait = min(_LONGEST_LOOK, wait * 1.3)

    def build(self, prefix: str) -> BuildRecord:
        """The build whose id begins so. Raises NotFound, UsageError."""
        if exact := self._builds.build(prefix):
            return exact
        found = self._builds.builds(prefix=prefix, limit=_MANY)
        if not found:
            raise NotFound(f"no build {prefix!r}", hint="trtreg builds ls lists them")
        if len(found) > 1:
            many = "many" if len(found) == _MANY else len(found)
            raise UsageError(f"{prefix!r} begins {many} builds", hint=f"among them {found[0].id}, {found[1].id}")
        return found[0]

    def builds(self, *, live: bool = False, after: str = "", limit: int | None = None) -> Iterator[BuildRecord]:
        """Newest first, read page by page: at most so many, of those that come after the build `after`."""
        return by_pages(
            lambda last, most: self._builds.builds(live=live, after=last, limit=most),
            lambda record: record.id,
            after=self.build(after).id if after else "",
            limit=limit,
        )

    def cancel(self, prefix: str) -> BuildRecord:
        """Call a build off; what has ended stays as it is. Raises NotFound."""
        record = self.build(prefix)
        if record.state.is_end:
            self._progress.say(f"the build {record.id} has ended before: {record.state}")
            return record
        # Before a worker has begun, a lease of the key is that of somebody whose build isn't the farm's.
        if self._builds.end(record.id, BuildState.CANCELLED):
            return record
        # A worker that builds it hears of it by its next sign of life, and notes the end itself; unless it has died.
        if not self._leases.cancel(key_subject(Key(record.key))):
            self._builds.end(record.id, BuildState.CANCELLED, worker=record.worker)
        return record

    def _send(self, record: BuildRecord) -> None:
        try:
            self._bell.ring(record)
        except Unreachable as error:
            self._progress.say(f"{error.message}; a worker's sweep finds the build {record.id} in a minute")


def _seen(now: str, record: BuildRecord) -> str:
    """What it does, where, and since when."""
    since = record.age if record.seconds is None else record.seconds
    return f"{now} on {record.worker} after {since:.0f} s" if record.worker else f"{now} for {since:.0f} s"
