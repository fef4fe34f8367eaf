"""TensorRT's log: one logger for the whole process, its lines collected per build."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

NO_DRIVER = re.compile(r"catchCudaError.*\bcudaError 35\b|CUDA initialization failure with error: 35")
_PLACE = re.compile(r"^\[[\w.]+::\w+::\d+\] |^[\w.]+\.cpp:\d+: |^I\w+::\w+: | In \w+ at /_src/[^\s)]+")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line. `severity` is TensorRT's word: INTERNAL_ERROR, ERROR, WARNING or INFO."""

    severity: str
    text: str

    @property
    def is_error(self) -> bool:
        return self.severity in ("ERROR", "INTERNAL_ERROR")

    def __str__(self) -> str:
        return f"[{self.severity}] {self.text}"


@dataclass(slots=True)
class Log:
    """What TensorRT said while it was recorded, from INFO upwards."""

    lines: list[LogLine] = field(default_factory=list)

    def errors(self, *, without_gpu: bool) -> list[str]:
        """Texts of the error lines. A builder that works `without_gpu` follows each of its errors, and some of its
        successes, with one about the missing driver, which says nothing."""
        return [
            _PLACE.sub("", line.text).strip()
            for line in self.lines
            if line.is_error and not (without_gpu and NO_DRIVER.search(line.text))
        ]

    def reason(self, *, without_gpu: bool = False) -> str:
        """All error lines as one text."""
        return "; ".join(self.errors(without_gpu=without_gpu)) or "it gives no reason"

    def forgive(self, start: int) -> None:
        """Take the error lines from `start` on for warnings: what they tell of was made good."""
        self.lines[start:] = [LogLine("WARNING", n.text) if n.is_error else n for n in self.lines[start:]]

    @property
    def text(self) -> str:
        return "\n".join(map(str, self.lines))


@contextmanager
def recording(trt: Any) -> Iterator[tuple[Any, Log]]:
    """The module's logger, and the log that it writes to meanwhile. One recording at a time, the next one waits:
    lines don't say which build they belong to."""
    logger = _logger(trt)
    with _TURN:
        logger.current = Log()
        try:
            yield logger, logger.current
        finally:
            logger.current = Log()


_TURN = threading.Lock()


@cache
def _logger(trt: Any) -> Any:
    # TensorRT uses the first logger that a process shows it, and ignores all later ones.
    kept = {
        trt.ILogger.INTERNAL_ERROR: "INTERNAL_ERROR",
        trt.ILogger.ERROR: "ERROR",
        trt.ILogger.WARNING: "WARNING",
        trt.ILogger.INFO: "INFO",
    }

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.current = Log()

        def log(self, severity: Any, message: str) -> None:
            word = kept.get(severity)
            if word is not None:
                self.current.lines.append(LogLine(word, message))

    return Logger()
