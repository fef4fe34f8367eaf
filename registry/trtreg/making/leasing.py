"""One build for everybody: whoever has the lease makes it, the others wait and find it made.

The lease is the catalog's, so that all machines share it; the cache's file locks come first, and keep the processes of
one machine from asking all at once. Whoever was frozen or cut off until another took the lease may not publish.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trtreg.core.key import Key
from trtreg.core.lease import Failure, Holder, Lease, Owner, gpu_subject, key_subject, lifetime, patience
from trtreg.errors import TrtregError
from trtreg.making.flight import Flight, despite_outage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trtreg.core.limits import Limits
    from trtreg.interfaces import Leases, PlanCache, Progress


class Turns:
    """Whose turn it is to build. One for a registry; threads may share it.

    leases     opened when something is to be built
    shared     whether other machines have the same catalog. If not, the cache's file locks are enough to begin with:
               the lease is taken while the build runs, and a catalog that is out of reach keeps nobody from building
    host       this machine's name, and `process` this process's number, for those who wait
    place      which file locks the cache's are: see `core.lease.Owner`
    limits     of the builds here
    heartbeat  seconds between two signs of life
    """

    def __init__(
        self,
        *,
        leases: Callable[[], Leases],
        cache: PlanCache,
        shared: bool,
        host: str,
        process: int,
        place: Callable[[], str],
        limits: Limits,
        heartbeat: float,
        progress: Progress,
    ) -> None:
        self._limits = limits
        self._leases, self._cache, self._shared = leases, cache, shared
        self._host, self._process, self._place = host, process, place
        self._heartbeat, self._progress = heartbeat, progress
        self._here = threading.local()

    # --- taking turns --------------------------------------------------------------------------------------

    @contextmanager
    def only(self, key: Key, *, made: Callable[[], bool], retry: bool = False) -> Iterator[bool]:
        """Whether `key` is the caller's to make; if not, somebody has `made` it meanwhile.

        The caller has the cache's lock of that key. Raises the failure of whoever tried before, for as long as it is
        remembered and unless `retry` is set; Unreachable.
        """
        subject = key_subject(key)
        if self._shared:
            lease = self._waited_for(subject, made, "is making this engine", retry=retry)
            if lease is None:
                yield False
                return
            with self._flying(subject, lambda: lease):
                yield True
        else:
            with self._flying(subject, lambda: self._claim(subject, retry=retry)):
                yield True

    @contextmanager
    def on_gpu(self, uuid: str) -> Iterator[None]:
        """One build or judgement at a time on a physical GPU; no waiting for an empty `uuid`."""
        if not uuid:
            yield
            return

        def waiting(holder: str) -> None:
            self._progress.say(f"another process works on the GPU {uuid} ({holder}); waiting for it")

        self.enter("waiting for the GPU")
        with self._cache.lock(Key(f"gpu{uuid.encode().hex()}"), waiting):
            if not self._shared:
                yield
                return
            lease = self._waited_for(gpu_subject(uuid), lambda: False, f"works on the GPU {uuid}")
            with self._flying(gpu_subject(uuid), lambda: lease):
                yield

    def _waited_for(self, subject: str, made: Callable[[], bool], doing: str, *, retry: bool = False) -> Lease | None:
        """The lease, once it is free; None if nothing needs it any more, as it was `made`."""
        outcome: Lease | Holder | Failure | None = self._claim(subject, retry=retry)
        while not isinstance(outcome, Lease):
            if isinstance(outcome, Failure):
                raise outcome.error()
            if isinstance(outcome, Holder):
                self._sit_out(subject, outcome, doing)
            # The store is looked at before the lease is asked for, or all who waited would do so one by one.
            if made():
                return None
            outcome = despite_outage(lambda: self._claim(subject))
        return self._unless_made(outcome, made)

    def _sit_out(self, subject: str, holder: Holder, doing: str) -> None:
        """Return when nobody has the lease any more: it was released, or its holder died. Raises why it failed."""
        told: tuple[Owner, str] | None = None
        now: Holder | Failure | None = holder
        while isinstance(now, Holder):
            if told is None or told[0] != now.owner:
                self._progress.say(f"{now.owner} {doing}; waiting for it")
            if told != (now.owner, now.phase):
                self._progress.stage("wait", str(now))
            told = now.owner, now.phase
            time.sleep(patience(now, self._heartbeat))
            now = despite_outage(lambda: self._leases().look(subject))
        if isinstance(now, Failure) and now.speaks_against(self._limits):
            raise now.error()

    def _unless_made(self, lease: Lease, made: Callable[[], bool]) -> Lease | None:
        """Somebody may have made it between the look for it and the lease."""
        needed = False
        try:
            needed = not made()
        finally:
            if not needed:
                self._leases().release(lease)
        return lease if needed else None

    def _claim(self, subject: str, *, retry: bool = False) -> Lease | Holder | Failure:
        owner = Owner(host=self._host, process=self._process, nonce=os.urandom(4).hex(), place=self._place())
        seconds = lifetime(self._heartbeat)
        outcome = self._leases().claim(subject, owner, seconds=seconds, retry=retry)
        if isinstance(outcome, Failure) and not outcome.speaks_against(self._limits):
            return self._leases().claim(subject, owner, seconds=seconds, retry=True)
        return outcome

    # --- what goes on in this thread -----------------------------------------------------------------------

    @contextmanager
    def _flying(self, subject: str, claim: Callable[[], object]) -> Iterator[None]:
        flight = Flight(
            claim, self._leases, subject=subject, heartbeat=self._heartbeat, limits=self._limits, watched=self._shared
        )
        self._flights.append(flight)
        failure: TrtregError | None = None
        try:
            yield
        except TrtregError as error:
            failure = error
            raise
        finally:
            self._flights.remove(flight)
            flight.end(failure)

    @property
    def _flights(self) -> list[Flight]:
        """What this thread is building: a key, and within it perhaps a GPU's turn."""
        if not hasattr(self._here, "flights"):
            self._here.flights = []
        flights: list[Flight] = self._here.flights
        return flights

    def fence(self) -> Lease | None:
        """The lease of what this thread builds, held at this moment; None for a build that needs none. Raises
        LeaseLost, Cancelled, Unreachable."""
        return self._flights[0].fence() if self._flights else None

    def stopped(self) -> TrtregError | None:
        """Why this thread's build should end; None while it may go on."""
        return self._flights[0].stopped if self._flights else None

    def enter(self, phase: str) -> None:
        """Show those who wait for this thread's build what it does now."""
        for flight in self._flights:
            flight.enter(phase)


class ToldProgress:
    """A Progress that also tells those who wait for the build, on other machines."""

    def __init__(self, progress: Progress, turns: Turns) -> None:
        self._progress, self._turns = progress, turns

    def stage(self, name: str, detail: str = "") -> None:
        self._turns.enter(name)
        self._progress.stage(name, detail)

    def advance(self, done: int, total: int) -> None:
        self._progress.advance(done, total)

    def say(self, line: str) -> None:
        self._progress.say(line)
