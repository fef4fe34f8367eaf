"""What a child process may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a child process may take: `seconds` for each stage, `memory` in bytes of address space."""

    seconds: float
    memory: int
