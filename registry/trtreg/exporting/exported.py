"""What the exporters of all frameworks hand back, and how they word what others raised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.lineage import Step

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

SEED = 20240229
"""Of the example that the program and its export are compared on."""
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Exported:
    """What was done, and one run of the program to compare with: its inputs in order, and its outputs."""

    step: Step
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def one_line(error: Exception) -> str:
    """The first line that says something; the exporters wrap the cause in pages of advice."""
    cause = error.__cause__ or error
    words = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
    words = "".join(c for c in re.sub(r"\x1b\[[0-9;]*m", "", words) if c.isprintable())
    text = f"{type(cause).__name__}: {words}" if words else type(cause).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
