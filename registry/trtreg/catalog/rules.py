"""What every catalog holds to, whatever keeps its rows."""

from __future__ import annotations

from datetime import UTC, datetime

from trtreg.core.lifecycle import EngineState, may_follow
from trtreg.core.manifest import Manifest
from trtreg.errors import UsageError


def moment(text: str) -> datetime | None:
    """A time in UTC from ISO 8601; None for what is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def require_step(manifest: Manifest, now: EngineState, then: EngineState) -> None:
    """Raise UsageError unless an engine in state `now` may become `then`."""
    if not may_follow(now, then):
        raise UsageError(
            f"engine {manifest.key} with plan {manifest.plan_digest} is {now} and can't become {then}",
            hint="build the key again: another plan begins afresh" if now is EngineState.REVOKED else "",
        )


def require_blessable(manifest: Manifest, state: EngineState) -> None:
    """Raise UsageError unless an engine in `state` may be the one that is served."""
    if state is not EngineState.PUBLISHED:
        raise UsageError(f"engine {manifest.key} can't be blessed: it is {state}")
