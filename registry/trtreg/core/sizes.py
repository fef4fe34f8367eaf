"""Amounts of bytes, and lengths of time, as people write them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
UNLIMITED = "unlimited"


@dataclass(frozen=True, slots=True)
class Bound:
    """How much a folder may hold: `size` in bytes, and `share` of the file system that it is on."""

    size: float = math.inf
    share: float = math.inf

    def of(self, file_system: float) -> float:
        """Bytes, on a file system of that many."""
        return min(self.size, self.share * file_system)


def parse_size(text: str, *, binary: bool = False) -> int:
    """Bytes. `500M` and `20G` are powers of 1000, or of 1024 as memory is counted; `20GiB` always is of 1024.
    Raises ValueError."""
    match = _SIZE.fullmatch(text.strip().upper())
    if not match or (match[3] and not match[2]):
        raise ValueError(f"{text!r} is no size: write 500M or 20G")
    unit = 1024 if binary or match[3] else 1000
    return int(_counted(float(match[1]) * unit ** " KMGT".index(match[2] or " "), "a size"))


def parse_bound(text: str) -> Bound:
    """`50G`, a number of bytes, `30%` of the disk, or `unlimited`. Raises ValueError."""
    words = text.strip().lower()
    if words == UNLIMITED:
        return Bound()
    if share := _SHARE.fullmatch(words):
        if not 0 < float(share[1]) <= 100:
            raise ValueError(f"{text!r} is no share of a disk")
        return Bound(share=float(share[1]) / 100)
    return Bound(size=parse_size(text))


def parse_duration(text: str) -> float:
    """Seconds: `90s`, `30m`, `24h`, `7d`, or a number of them. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match:
        raise ValueError(f"{text!r} is no length of time: write 30m, 24h or 7d")
    return _counted(float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]], "a length of time")


def _counted(number: float, what: str) -> float:
    if number >= 2**63:
        raise ValueError(f"{number:g} is too large for {what}")
    return number


def shown(size: float) -> str:
    """Bytes for people, in powers of 1000: `1.5 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
