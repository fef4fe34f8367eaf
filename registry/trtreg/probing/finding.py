"""What asking this machine for a runtime can give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from trtreg.interfaces import Notes

if TYPE_CHECKING:
    from trtreg.core.target import Target


@dataclass(frozen=True, slots=True)
class Available:
    """The runtime is here. `facts` are for people: what was found, by name; nothing is decided on them."""

    target: Target
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Missing:
    """The runtime isn't here, or can't be used: why, and what to do about it."""

    reason: str
    remedy: str


Finding: TypeAlias = Available | Missing
Probe: TypeAlias = Callable[[Notes], Finding]
