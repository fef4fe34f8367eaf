"""TensorRT's timing caches on this machine: one file for each exact version, CUDA and device, used by every build.

They shorten builds and are no part of a plan's key. TensorRT-RTX has none that would do anything.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trtreg.core.digest import digest_of
from trtreg.core.target import Target


class TimingCache:
    """The timing cache of one target in `folder`, safe for builds that run at once."""

    def __init__(self, folder: Path, target: Target) -> None:
        kind = (target.runtime, target.runtime_version, target.cuda, target.architecture, target.device)
        self.path = folder / f"{digest_of('timing-cache', kind)}.timing"

    def lend(self, config: Any) -> None:
        """Let the build behind `config` use what is known. Timings of another version or device are never forced
        upon TensorRT: it says so in its log, and starts with none."""
        cache = config.create_timing_cache(self._read())
        if cache is None or not config.set_timing_cache(cache, False):
            config.set_timing_cache(config.create_timing_cache(b""), False)

    def collect(self, config: Any) -> None:
        """Add what the build has measured to what is there, which other builds may have added to meanwhile."""
        cache = config.get_timing_cache()
        if cache is None:
            return
        with self._alone():
            known = config.create_timing_cache(self._read())
            if known is not None:
                cache.combine(known, False)
            self._replace(cache.serialize())

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""

    def _replace(self, content: Any) -> None:
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self.path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
