"""TensorRT's timing caches, as one build reads and leaves them: files in a folder that whoever ordered it has filled.

They shorten builds and are no part of a plan's key. TensorRT-RTX has none that would do anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trtreg.core.timing import LENT_SUFFIX, MEASURED


class TimingCache:
    """The timing caches in `folder`, all of the build's own version, CUDA and device."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lend(self, config: Any) -> None:
        """Let the build behind `config` use what is known. What turns out to be of another version or device is
        left out, and never forced upon TensorRT, which says so in its log."""
        known = config.create_timing_cache(b"")
        for path in sorted(self._folder.glob(f"*{LENT_SUFFIX}")):
            lent = config.create_timing_cache(path.read_bytes())
            if lent is not None:
                known.combine(lent, False)
        config.set_timing_cache(known, False)

    def collect(self, config: Any) -> None:
        """Leave what is known now: all that was lent, and what the build has measured."""
        cache = config.get_timing_cache()
        if cache is not None:
            (self._folder / MEASURED).write_bytes(cache.serialize())
