"""What every catalog holds to, whatever keeps its rows."""

from __future__ import annotations

from trtreg.core.lifecycle import EngineState, may_follow
from trtreg.core.manifest import Manifest
from trtreg.core.model import Sample
from trtreg.errors import NotFound, UsageError


def merged_note(old: str, new: str) -> str:
    """The note of a version that was added once more: the old lines, and of the new those that aren't there yet."""
    lines = old.splitlines()
    return "\n".join([*lines, *(line for line in new.splitlines() if line not in lines)])


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


def require_same_sample(version: str, there: Sample, given: Sample) -> None:
    """Raise UsageError if a sample of that name has other contents."""
    if (there.file.sha256, there.file.size) != (given.file.sha256, given.file.size):
        was, is_now = (f"{f.sha256[:12]} of {f.size} bytes" for f in (there.file, given.file))
        raise UsageError(
            f"{version} has another sample {given.name!r} already: {was}, not {is_now}",
            hint="give the new one another name",
        )


def no_such_model(name: str) -> NotFound:
    return NotFound(f"no model {name!r} in the catalog", hint="trtreg model ls shows what is there")


def no_such_version(name: str, version: int) -> NotFound:
    return NotFound(f"no version {name}@{version} in the catalog", hint="trtreg model ls shows what is there")


def no_such_alias(name: str, alias: str) -> NotFound:
    return NotFound(f"{name} has no alias {alias!r}", hint=f"trtreg model show {name} lists them")


def needed_by_alias(name: str, version: int, aliases: tuple[str, ...]) -> UsageError:
    return UsageError(
        f"{name}@{version} is needed by {', '.join(f'{name}@{alias}' for alias in aliases)}",
        hint=f"trtreg model unalias {name}@{aliases[0]}, or let it name another version",
    )
