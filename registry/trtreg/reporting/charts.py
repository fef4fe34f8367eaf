"""Plots as SVG: points, curves and histograms. Colours are the page's: series N has the classes `sN` and `fN`.

Each series has a mark and a dash of its own, too, since not everybody tells colours apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]
_Rectangle = tuple[float, float, float, float]
"""left, top, right, bottom"""

SERIES = 8
"""Colours there are; the ninth series looks like the second, the first being the reference's alone."""

_WIDTH, _HEIGHT = 560.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 16.0, 14.0, 46.0
_LINE, _LETTER = 13.0, 6.6
_DASHES = ("6 4", "", "9 3", "2 3", "9 3 2 3", "14 4", "5 2", "1 2")
_MARKS = (
    "M-5 0L0 -6L5 0L0 6z",
    "M0 -5A5 5 0 1 1 0 5A5 5 0 1 1 0 -5z",
    "M-4.5 -4.5H4.5V4.5H-4.5z",
    "M0 -6L5.5 4.5H-5.5z",
    "M0 6L5.5 -4.5H-5.5z",
    "M-5 0L-2.5 -5H2.5L5 0L2.5 5H-2.5z",
    "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2z",
    "M-6 -3H6V3H-6z",
)


def look(place: int) -> int:
    """Which colour, mark and dash the contender in that place of the table has."""
    return place if place < SERIES else 1 + (place - 1) % (SERIES - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """`place` is the contender's in the table; hollow marks are of those that aren't served."""

    place: int
    name: str
    points: Sequence[Point]
    hollow: bool = False


def mark(place: int, *, hollow: bool = False) -> str:
    """The contender's mark alone, for tables."""
    drawn = _mark(place, hollow)
    return f'<svg class="mark" width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">{drawn}</svg>'


def scatter(title: str, x: str, y: str, series: Sequence[Series]) -> str:
    """One point for each, with its name beside it."""
    axes = _Axes(
        _widened([p[0] for s in series for p in s.points], least=0.0),
        _widened([p[1] for s in series for p in s.points]),
    )
    parts, places = [], {one.place: axes.at(one.points[0]) for one in series}
    taken = [(left - 7, top - 7, left + 7, top + 7) for left, top in places.values()]
    for one in series:
        left, top = places[one.place]
        parts.append(f'<g transform="translate({left:.1f} {top:.1f})">{_mark(one.place, one.hollow)}</g>')
        x_at, y_at, rectangle = _free_place(left, top, len(one.name) * _LETTER, taken)
        taken.append(rectangle)
        parts.append(f'<text x="{x_at:.1f}" y="{y_at:.1f}">{escape(one.name)}</text>')
    return axes.drawn(title, x, y, parts, [f"{s.name}: {s.points[0][0]:.4g}, {s.points[0][1]:.4g}" for s in series])


def curves(title: str, x: str, y: str, series: Sequence[Series]) -> str:
    """Lines over shares from 0 to 1."""
    axes = _Axes((0.0, 1.0), (0.0, 1.0))
    parts = [_line(one, [axes.at(point) for point in one.points]) for one in series]
    return axes.drawn(title, x, y, parts, [s.name for s in series])


def histogram(title: str, x: str, y: str, series: Sequence[Series], *, decades: tuple[int, int]) -> str:
    """Steps over powers of ten: the points of a series are (power at which a bin begins, its share in percent)."""
    highest = max((share for s in series for _, share in s.points), default=0.0)
    axes = _Axes((float(decades[0]), float(decades[1])), (0.0, highest * 1.08 or 1.0), x_word=_power)
    parts = []
    for one in series:
        if not one.points:
            continue
        width = (decades[1] - decades[0]) / len(one.points)
        corners = [(place, share) for begin, share in one.points for place in (begin, begin + width)]
        outline = [axes.at(point) for point in corners]
        foot = [axes.at((float(decade), 0.0)) for decade in reversed(decades)]
        parts.append(f'<path class="area f{look(one.place)}" d="{_way([*outline, *foot])}z"/>')
        parts.append(_line(one, outline))
    return axes.drawn(title, x, y, parts, [s.name for s in series])


class _Axes:
    """Two straight scales with round numbers."""

    def __init__(self, x: Point, y: Point, *, x_word: Callable[[float], str] | None = None) -> None:
        self._x, self._y = x, y
        self._x_word = x_word or _number

    def at(self, point: Point) -> Point:
        (low, high), (bottom, top) = self._x, self._y
        return (
            _LEFT + (point[0] - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - (point[1] - bottom) / (top - bottom) * (_HEIGHT - _TOP - _BOTTOM),
        )

    def drawn(self, title: str, x: str, y: str, parts: Sequence[str], said: Sequence[str]) -> str:
        """The whole picture. `said` is what somebody hears who doesn't see it."""
        right, foot = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        grid = []
        for value in _ticks(*self._x):
            left, _ = self.at((value, self._y[0]))
            grid.append(f'<path class="grid" d="M{left:.1f} {_TOP}V{foot}"/>')
            grid.append(_text("tick", f'x="{left:.1f}" y="{foot + 16}"', "middle", self._x_word(value)))
        for value in _ticks(*self._y):
            _, top = self.at((self._x[0], value))
            grid.append(f'<path class="grid" d="M{_LEFT} {top:.1f}H{right}"/>')
            grid.append(_text("tick", f'x="{_LEFT - 8}" y="{top + 4:.1f}"', "end", _number(value)))
        across = f'x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 8}"'
        down = f'transform="translate(14 {(_TOP + foot) / 2:.0f}) rotate(-90)"'
        return "\n".join(
            (
                f'<svg class="chart" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img"><title>{escape(title)}</title>',
                f"<desc>{escape('; '.join(said))}</desc>",
                *grid,
                _text("axis", across, "middle", escape(x)),
                _text("axis", down, "middle", escape(y)),
                *parts,
                "</svg>",
            )
        )


def _text(kind: str, place: str, anchor: str, words: str) -> str:
    return f'<text class="{kind}" {place} text-anchor="{anchor}">{words}</text>'


def _line(series: Series, points: Sequence[Point]) -> str:
    number = look(series.place)
    return f'<path class="line s{number}" stroke-dasharray="{_DASHES[number]}" d="{_way(points)}"/>'


def _way(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{left:.1f} {top:.1f}" for left, top in points)


def _free_place(left: float, top: float, width: float, taken: Sequence[_Rectangle]) -> tuple[float, float, _Rectangle]:
    """Where a name may begin near its mark without lying on another or on a mark: left end, foot, and its rectangle."""
    found: tuple[float, float, _Rectangle] | None = None
    for step in range(12):
        for down in (step * _LINE, -step * _LINE):
            for begin in (left + 10, left - 10 - width, left - width / 2):
                foot = top + 4 + down
                rectangle = (begin, foot - _LINE + 2, begin + width, foot + 2)
                inside = _lies_in(rectangle, (_LEFT, _TOP, _WIDTH, _HEIGHT - _BOTTOM))
                found = found or (begin, foot, rectangle)
                if inside and not any(_overlap(rectangle, other) for other in taken):
                    return begin, foot, rectangle
    assert found
    return found


def _lies_in(one: _Rectangle, other: _Rectangle) -> bool:
    return one[0] >= other[0] and one[1] >= other[1] and one[2] <= other[2] and one[3] <= other[3]


def _overlap(one: _Rectangle, other: _Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _mark(place: int, hollow: bool) -> str:
    number = look(place)
    return f'<path class="s{number} {"hollow" if hollow else f"f{number}"}" d="{_MARKS[number]}"/>'


def _widened(values: Sequence[float], *, least: float | None = None) -> Point:
    """From the least to the largest with some room around them, from `least` on if that is given."""
    low, high = min(values), max(values)
    room = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    return (low - room if least is None else least, high + room)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, about six."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{round(value, 10):g}".replace("-", "−")


def _power(exponent: float) -> str:
    """10 to the whole `exponent`; nothing between whole ones."""
    if exponent != round(exponent):
        return ""
    return f'10<tspan dy="-5" font-size="9">{_number(exponent)}</tspan>'
