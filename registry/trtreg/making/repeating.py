"""One recipe built several times: builders are known to make plans of different accuracy from the same recipe."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from trtreg.core.variance import Attempt, Variance, attempt_of, best_of
from trtreg.errors import BuildFailed, Cancelled, LeaseLost, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trtreg.core.work import Built, WorkOrder
    from trtreg.interfaces import Progress


def build_repeatedly(
    order: WorkOrder, times: int, build: Callable[[WorkOrder], Built], progress: Progress
) -> tuple[Built, WorkOrder, Variance]:
    """Build `order` so many times, judge each, and give back the best, its own order, and what all came to.

    One that fails or is refused counts and holds up none of the others. Only the best plan's files stay. Raises
    UsageError where this machine can't judge, and the last failure where no build could be judged.
    """
    if not order.prove:
        raise UsageError(
            f"every one of repeated builds is judged, and this machine can't run plans for {order.target.architecture}",
            hint="repeat it on a machine that can",
        )
    attempts: list[Attempt] = []
    best: tuple[Built, WorkOrder] | None = None
    failure: BuildFailed | None = None
    for number in range(1, times + 1):
        one = replace(order, folder=order.folder / f"attempt-{number}")
        one.folder.mkdir()
        try:
            built = build(one)
        except (Cancelled, LeaseLost):
            raise
        except BuildFailed as error:
            failure = error
            attempts.append(Attempt(reason=error.message))
        else:
            assert built.gate is not None
            attempts.append(attempt_of(built.plan, built.gate))
            if best_of(attempts) == len(attempts) - 1:
                best = _in_place_of(best, (built, one))
            else:
                _remove(one.folder)
        progress.say(f"build {number} of {times}: {_told(attempts[-1])}")
    if best is None:
        assert failure is not None
        raise failure
    return *best, Variance(attempts=tuple(attempts))


def _in_place_of(before: tuple[Built, WorkOrder] | None, better: tuple[Built, WorkOrder]) -> tuple[Built, WorkOrder]:
    if before:
        _remove(before[1].folder)
    return better


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _told(attempt: Attempt) -> str:
    if attempt.verdict is None:
        return f"failed: {attempt.reason}"
    why = f": {attempt.reason}" if attempt.reason else ""
    return f"plan {attempt.plan_digest[:12]}, strain {attempt.strain:.3g}, {attempt.verdict}{why}"
