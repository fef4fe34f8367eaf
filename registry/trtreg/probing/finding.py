"""What asking this machine for a runtime can give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trtreg.core.target import Target
    from trtreg.probing.nvml import Gpu


@dataclass(frozen=True, slots=True)
class Available:
    """The runtime is here.

    facts      for people: what was found, by name; nothing is decided on them
    gpu        the GPU that it would use; None for the CPU
    shortfall  why it would run on the CPU although there is an NVIDIA driver
    """

    target: Target
    facts: Mapping[str, str] = field(default_factory=dict)
    gpu: Gpu | None = None
    shortfall: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """The runtime isn't here, or can't be used: why, and what to do about it."""

    reason: str
    remedy: str


Finding: TypeAlias = Available | Missing
