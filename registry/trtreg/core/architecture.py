"""GPU architectures as targets spell them: `sm_89`, or `sm_86,sm_89,sm_120` for a plan made for several."""

from __future__ import annotations

import re

_SM = re.compile(r"sm_([1-9][0-9]{1,2})\Z")


def parse_architecture(text: str) -> tuple[int, ...]:
    """The compute capabilities in `text`, times ten, in rising order: `sm_120,sm_89` → (89, 120). Raises ValueError."""
    matches = [_SM.match(part.strip()) for part in text.split(",")]
    if not all(matches):
        raise ValueError(f"{text!r} is no GPU architecture such as sm_89 or sm_86,sm_89")
    return tuple(sorted({int(m[1]) for m in matches if m}))


def architecture_of(capabilities: tuple[int, ...]) -> str:
    """The one spelling of these compute capabilities: (120, 89) → `sm_89,sm_120`."""
    return ",".join(f"sm_{c}" for c in sorted(set(capabilities)))
