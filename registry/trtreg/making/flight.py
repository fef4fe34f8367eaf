"""One build under its lease: a thread gives the signs of life, and notices why the build should end."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from trtreg.core.lease import Failure, Lease, Pulse, lifetime, limit_for, lost
from trtreg.errors import Cancelled, LeaseLost, TrtregError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from trtreg.core.limits import Limits
    from trtreg.interfaces import Leases

T = TypeVar("T")

OUTAGE = 60.0
"""Seconds for which a catalog may be away while something is built, or waited for."""


class Flight:
    """A build that is under way.

    claim      gives the lease: at once, or from the database, which the thread then asks while the build begins
    leases     opened in the thread: their library takes a quarter of a second to import
    limits     of this build
    heartbeat  seconds between two signs of life
    watched    whether others may wait for it, who want to see each phase when it begins
    """

    def __init__(
        self,
        claim: Callable[[], object],
        leases: Callable[[], Leases],
        *,
        subject: str,
        heartbeat: float,
        limits: Limits,
        watched: bool,
    ) -> None:
        self._claim, self._leases, self._heartbeat, self._watched = claim, leases, heartbeat, watched
        self._limits = limits
        self._lease: Lease | None = None
        self._phase = ""
        self.stopped: TrtregError | None = None
        """Why the build should end; None while it may go on."""
        self._claimed, self._due, self._ended = threading.Event(), threading.Event(), False
        self._thread = threading.Thread(target=self._fly, name=f"lease of {subject[:16]}", daemon=True)
        self._thread.start()

    def enter(self, phase: str) -> None:
        """What the build does from now on."""
        self._phase = phase
        if self._watched:
            self._due.set()

    def fence(self) -> Lease | None:
        """The lease, which is held at this moment; None where the catalog is this machine's own and out of reach.
        Raises LeaseLost, Cancelled, or why the build shouldn't have begun; Unreachable."""
        self._claimed.wait(OUTAGE)
        if self.stopped is None and self._lease is not None:
            lease = self._lease
            despite_outage(lambda: self._leases().require(lease))
        if self.stopped is not None:
            raise self.stopped
        return self._lease

    def end(self, error: TrtregError | None) -> None:
        """Let go of the lease. An `error` is remembered for those who would try the same."""
        self._ended = True
        self._due.set()
        self._thread.join()
        if self._lease is None or isinstance(self.stopped, LeaseLost):
            return
        allowed = limit_for(error.kind, self._limits) if error else 0.0
        with suppress(Unreachable):  # It expires by itself.
            self._leases().release(self._lease, error, allowed=allowed)

    def _fly(self) -> None:
        self._take()
        self._claimed.set()
        while self._lease is not None and not self._ended:
            self._due.wait(self._heartbeat)
            self._due.clear()
            if not self._ended:
                self._beat(self._lease)

    def _take(self) -> None:
        try:
            outcome = self._claim()
        except TrtregError:
            return  # Only a catalog of this machine's own is asked so late: its file lock is held already.
        if isinstance(outcome, Failure):
            self.stopped = outcome.error()
        elif isinstance(outcome, Lease):
            self._lease = outcome

    def _beat(self, lease: Lease) -> None:
        try:
            pulse = self._leases().renew(lease, seconds=lifetime(self._heartbeat), phase=self._phase)
        except TrtregError:
            time.sleep(min(1.0, self._heartbeat / 5))
            self._due.set()
            return
        if pulse is Pulse.CANCELLED:
            self.stopped = Cancelled("the build was called off", hint="trtreg get begins it again")
        elif pulse is Pulse.LOST:
            self.stopped = self._loss(lease)
            self._ended = True

    def _loss(self, lease: Lease) -> TrtregError:
        try:
            self._leases().require(lease)
        except TrtregError as error:
            return error
        return lost(lease.subject, None)


def despite_outage(ask: Callable[[], T]) -> T:
    """What `ask` answers, though the database be restarted meanwhile. Raises Unreachable after a minute."""
    deadline = time.monotonic() + OUTAGE
    while True:
        try:
            return ask()
        except Unreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
