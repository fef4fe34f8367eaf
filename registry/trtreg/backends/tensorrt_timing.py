"""TensorRT's timing caches, as one build reads and leaves them: files in a folder that whoever ordered it has filled.

They shorten builds and are no part of a plan's key. TensorRT-RTX has none that would do anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trtreg.backends.tensorrt_log import Log, LogLine
from trtreg.core.timing import COMBINED, LENT_SUFFIX, MEASURED


class TimingCache:
    """The timing caches in `folder`, all of the build's own version, CUDA and device."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._combined: list[str] = []

    def lend(self, config: Any, log: Log) -> None:
        """Let the build behind `config` use what is known. What turns out to be of another version or device is
        left out, and never forced upon TensorRT, which says so in its `log`."""
        known = config.create_timing_cache(b"")
        for path in sorted(self._folder.glob(f"*{LENT_SUFFIX}")):
            start = len(log.lines)
            lent = config.create_timing_cache(path.read_bytes())
            # For what it refuses, TensorRT gives an empty cache: only the log tells it from one that was taken.
            if lent is not None and known.combine(lent, False) and not any(map(_is_refusal, log.lines[start:])):
                self._combined.append(path.name.removesuffix(LENT_SUFFIX))
        config.set_timing_cache(known, False)

    def collect(self, config: Any) -> None:
        """Leave what is known now, all that was taken and what the build has measured, and the names of the former."""
        cache = config.get_timing_cache()
        if cache is not None:
            (self._folder / COMBINED).write_text("".join(f"{digest}\n" for digest in self._combined))
            (self._folder / MEASURED).write_bytes(cache.serialize())


def _is_refusal(line: LogLine) -> bool:
    return line.is_error or (line.severity == "WARNING" and "timing cache" in line.text.lower())
