"""The states of an engine, and which may follow which."""

from __future__ import annotations

from enum import StrEnum


class EngineState(StrEnum):
    """published: `get` serves it. rejected: the gate refused it. unproven: built, not yet run where it belongs
    (quarantine). revoked: withdrawn after publishing."""

    PUBLISHED = "published"
    REJECTED = "rejected"
    UNPROVEN = "unproven"
    REVOKED = "revoked"


_NEXT: dict[EngineState, frozenset[EngineState]] = {
    EngineState.UNPROVEN: frozenset({EngineState.PUBLISHED, EngineState.REJECTED, EngineState.REVOKED}),
    EngineState.PUBLISHED: frozenset({EngineState.REJECTED, EngineState.REVOKED}),
    # A model's owner may widen its tolerance; the same plan then passes the gate when it is run again.
    EngineState.REJECTED: frozenset({EngineState.PUBLISHED, EngineState.REVOKED}),
    EngineState.REVOKED: frozenset(),
}


def may_follow(now: EngineState, then: EngineState) -> bool:
    """Whether an engine in state `now` may become `then`; staying as it is may always be."""
    return now is then or then in _NEXT[now]
