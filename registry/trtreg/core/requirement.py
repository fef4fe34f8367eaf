"""What a team requires of every engine, as text: `ap50 >= reference - 1.0`, `top1 >= 75`, `latency <= 1.2 * reference`.

    REQUIREMENT  FIGURE COMPARISON BOUND
    FIGURE       a name: letters, digits, `_` and `-`, the first a letter
    COMPARISON   >=  >  <=  <
    BOUND        NUMBER | REFERENCE [(+ | -) NUMBER]
    REFERENCE    reference | NUMBER * reference | reference * NUMBER

`reference` is the same figure of the reference: ONNX Runtime's run of the original model. Spaces don't matter. What
wasn't measured, and NaN wherever it stands, fails.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

FIGURES: Mapping[str, bool] = {
    "ap50": True,
    "ap50_95": True,
    "precision": True,
    "recall": True,
    "coco_ap50": True,
    "coco_ap50_95": True,
    "top1": True,
    "top5": True,
    "agreement": True,
    "latency": False,
}
"""Our own figures, and whether more of each is better. Other packages' families may measure others."""

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_REQUIREMENT = re.compile(
    rf"""\s* (?P<figure>[A-Za-z][A-Za-z0-9_-]{{0,63}}) \s* (?P<comparison>>=|<=|>|<) \s*
    (?: (?P<number>{_NUMBER})
      | (?: (?P<before>{_NUMBER}) \s*\*\s* reference | reference (?: \s*\*\s* (?P<after>{_NUMBER}) )? )
        (?: \s*(?P<sign>[+-])\s* (?P<offset>{_NUMBER}) )?
    ) \s*""",
    re.VERBOSE,
)
_LONGEST = 200
_MOST_DECIMALS = 9


class Comparison(StrEnum):
    """How a figure must stand to its bound."""

    AT_LEAST = ">="
    ABOVE = ">"
    AT_MOST = "<="
    BELOW = "<"

    def holds(self, figure: float, bound: float) -> bool:
        """False if either is NaN."""
        compare: Mapping[Comparison, Callable[[float, float], bool]] = {
            Comparison.AT_LEAST: lambda a, b: a >= b,
            Comparison.ABOVE: lambda a, b: a > b,
            Comparison.AT_MOST: lambda a, b: a <= b,
            Comparison.BELOW: lambda a, b: a < b,
        }
        return compare[self](figure, bound)

    @property
    def opposite(self) -> str:
        """What is said where it doesn't hold."""
        return {">=": "<", ">": "<=", "<=": ">", "<": ">="}[self.value]

    @property
    def wants_more(self) -> bool:
        return self in (Comparison.AT_LEAST, Comparison.ABOVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """`figure` `comparison` (`factor` times the reference's figure plus `offset`). str() is the canonical text, which
    `parse_requirement` gives back. Raises ValueError for a number that isn't finite, and for a bound that would forbid
    one of our own figures to be better."""

    figure: str
    comparison: Comparison
    factor: float
    offset: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and math.isfinite(self.offset)):
            raise ValueError(f"{self.figure}: a bound must be finite")
        better = FIGURES.get(self.figure)
        if better is not None and better is not self.comparison.wants_more:
            word = "more" if better else "less"
            wanted = "'>='" if better else "'<='"
            raise ValueError(f"{self}: {word} {self.figure} is better, so it takes {wanted}")

    def __str__(self) -> str:
        return f"{self.figure} {self.comparison} {self._bound_text()}"

    def _bound_text(self) -> str:
        if not self.factor:
            return _written(self.offset)
        times = "reference" if self.factor == 1 else f"{_written(self.factor)} * reference"
        if not self.offset:
            return times
        return f"{times} {'-' if self.offset < 0 else '+'} {_written(abs(self.offset))}"

    @property
    def needs_reference(self) -> bool:
        return bool(self.factor)

    def fault(self, figures: Mapping[str, float], reference: Mapping[str, float]) -> str:
        """Why these figures don't do: `ap50 0.0 < 63.4`; empty if they do."""
        figure = figures.get(self.figure)
        if figure is None:
            return f"{self.figure} was not measured"
        if math.isnan(figure):
            return f"{self.figure} is NaN"
        bound = self.offset
        if self.needs_reference:
            of_reference = reference.get(self.figure, math.nan)
            if math.isnan(of_reference):
                return f"{self.figure} of the reference was not measured"
            bound += self.factor * of_reference
        if self.comparison.holds(figure, bound):
            return ""
        shown, allowed = _told_apart(figure, bound)
        return f"{self.figure} {shown} {self.comparison.opposite} {allowed}"


def parse_requirement(text: str) -> Requirement:
    """Read one requirement. Raises ValueError."""
    match = _REQUIREMENT.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(
            f"{text[:_LONGEST]!r} is no requirement: write FIGURE >= BOUND or FIGURE <= BOUND, "
            "where BOUND is a number, 'reference - 1.0' or '1.2 * reference'"
        )
    comparison = Comparison(match["comparison"])
    if match["number"] is not None:
        return Requirement(figure=match["figure"], comparison=comparison, factor=0.0, offset=_plain(match["number"]))
    sign = -1.0 if match["sign"] == "-" else 1.0
    return Requirement(
        figure=match["figure"],
        comparison=comparison,
        factor=_plain(match["before"] or match["after"] or "1"),
        offset=_plain(match["offset"] or "0", sign),
    )


def faults(
    requirements: tuple[Requirement, ...], figures: Mapping[str, float], reference: Mapping[str, float]
) -> tuple[str, ...]:
    """Of every requirement that isn't met, why."""
    return tuple(filter(None, (r.fault(figures, reference) for r in requirements)))


def _plain(text: str, sign: float = 1.0) -> float:
    """The number, with one zero only: -0.0 would be written like 0 and be another value."""
    return sign * float(text) + 0.0


def _written(number: float) -> str:
    """The shortest text that gives the number back."""
    text = repr(number)
    return text.removesuffix(".0")


def _told_apart(figure: float, bound: float) -> tuple[str, str]:
    """Both with as few decimals as tell them apart: 63.37 and 63.40, but 0.0 and 63.4."""
    least = 1 if max(abs(figure), abs(bound)) >= 10 else 3
    for decimals in range(least, _MOST_DECIMALS + 1):
        shown, allowed = f"{figure:.{decimals}f}", f"{bound:.{decimals}f}"
        if shown != allowed:
            return shown, allowed
    return repr(figure), repr(bound)
