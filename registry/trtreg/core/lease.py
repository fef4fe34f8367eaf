"""Leases: the right to make one thing, for a while; and how long a failure to make it is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from trtreg.errors import (
    BuildFailed,
    Disturbed,
    LeaseLost,
    OutOfMemory,
    OutOfTime,
    TrtregError,
    UnusableModel,
    error_of,
)

if TYPE_CHECKING:
    from trtreg.core.key import Key
    from trtreg.core.limits import Limits

HEARTBEAT = 5.0
"""Seconds between two signs of life, unless the settings say otherwise."""

_LAST = 2.5
"""Heartbeats that a lease outlasts its last sign of life. Who waits then takes it over before the third is due."""

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

REMEMBERED: Mapping[str, float] = {
    BuildFailed.kind: 7 * _DAY,
    UnusableModel.kind: 7 * _DAY,
    OutOfTime.kind: _HOUR,
    OutOfMemory.kind: 5 * _MINUTE,
    Disturbed.kind: _MINUTE,
}
"""Seconds for which a failure of each kind keeps others from trying the same. What the builder refuses, it refuses
everywhere: the key holds its exact version. What a machine lacked, another may have. The other kinds are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who has a lease, or wants it: one build in one process.

    nonce  tells this build from all others, whatever their hosts and processes are called
    place  what file lock the owner holds for the same subject; empty for none. Whoever has that lock knows that any
           other owner in its place has gone
    """

    host: str
    process: int
    nonce: str
    place: str = ""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to make `subject`. The token grows with every owner: an older one proves nothing any more."""

    subject: str
    owner: Owner
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A lease as others see it. `elapsed` and `expires_in` are seconds, by the database's clock."""

    subject: str
    owner: Owner
    token: int
    phase: str
    elapsed: float
    expires_in: float
    cancelled: bool = False

    def __str__(self) -> str:
        return f"{self.owner}, since {_shown(self.elapsed)}" + (f": {self.phase}" if self.phase else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why nobody made `subject`, as it is remembered. `age` and `expires_in` are seconds.

    allowed  seconds or bytes that the build might take, where one of them was too little for it; else 0
    """

    subject: str
    kind: str
    message: str
    hint: str
    host: str
    age: float
    expires_in: float
    allowed: float = 0.0

    def speaks_against(self, limits: Limits) -> bool:
        """Whether a build under these limits would fail alike: more time or memory than was too little may do."""
        return not 0 < self.allowed < limit_for(self.kind, limits)

    def error(self) -> TrtregError:
        """The same failure again, which says that it is remembered."""
        again = f"--retry tries at once, anybody may in {_shown(self.expires_in)}"
        return error_of(
            self.kind,
            f"{self.message} (that was {_shown(self.age)} ago on {self.host})",
            hint=f"{self.hint}; {again}" if self.hint else again,
        )


class Pulse(Enum):
    """What a sign of life finds: the lease is one's own, somebody wants the build to end, or another has the lease."""

    HELD = "held"
    CANCELLED = "cancelled"
    LOST = "lost"


def lifetime(heartbeat: float) -> float:
    """Seconds that a lease lives without a sign of life."""
    return _LAST * heartbeat


def patience(holder: Holder, heartbeat: float) -> float:
    """Seconds until it is worth asking again whether the lease is free: seldom for a long build, but at once when it
    expires."""
    return max(0.02, min(holder.expires_in, heartbeat / 2, max(heartbeat / 25, holder.elapsed / 10)))


def seconds_remembered(error: TrtregError) -> float:
    """For how long a failure to build is remembered; 0 for one that says nothing about the next try."""
    return REMEMBERED.get(error.kind, 0.0)


def limit_for(kind: str, limits: Limits) -> float:
    """Which of the limits a failure of that kind is about: seconds or bytes; 0 for none."""
    match kind:
        case OutOfTime.kind:
            return limits.seconds
        case OutOfMemory.kind:
            return limits.memory
    return 0.0


def key_subject(key: Key) -> str:
    """What the lease of a key's build is called."""
    return f"key {key}"


def gpu_subject(uuid: str) -> str:
    """What the lease of a physical GPU is called."""
    return f"gpu {uuid}"


def lost(subject: str, now: Owner | None) -> LeaseLost:
    """The error of a builder whose lease has gone to `now`; None where nobody has it."""
    who = f"{now} makes it now" if now else "nobody makes it now"
    return LeaseLost(
        f"the lease of {subject[:16]} was lost while this builder gave no sign of life, and {who}; what was built here "
        "isn't published",
        hint="ask again: what the other one makes is served",
    )


def _shown(seconds: float) -> str:
    for unit, length in (("days", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
