"""The seconds of each stage of one request."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Stages are measured by `with watch("fetch"):`, or by `lap`, which takes all since the last stage's end."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._last = time.monotonic()
            self._add(stage, self._last - started)

    def lap(self, stage: str) -> None:
        """`stage` took the time since the end of the one before."""
        now = time.monotonic()
        self._add(stage, now - self._last)
        self._last = now

    def split(self, stage: str, parts: Mapping[str, float]) -> None:
        """Show the parts of a stage that was measured elsewhere, and leave to the stage what they don't explain."""
        for part, seconds in parts.items():
            self._add(part, seconds)
        self._add(stage, -sum(parts.values()))

    def seconds(self) -> dict[str, float]:
        """By stage, in the order in which they began, and in `total`."""
        return {
            **{stage: round(max(0.0, s), 6) for stage, s in self._seconds.items()},
            "total": round(time.monotonic() - self._started, 6),
        }

    def _add(self, stage: str, seconds: float) -> None:
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
