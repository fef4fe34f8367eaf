"""Places for boxes: in layers, each below what it reads, with few crossings.

Sugiyama's way: layers by the longest path, a stand-in where an arrow passes a layer, orders by the middle of the
neighbours, and then places as near to the neighbours as the order and the widths allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

_SWEEPS = 12
_PULLS = 40
"""Rounds of moving boxes towards their neighbours: a long chain straightens slowly."""
_STRAIGHT = 4
"""How much harder two stand-ins of one arrow pull each other than boxes do: bends in passing lines are ugly."""
_GAP = 22.0
_PASSING_GAP = 12.0
_LAYER_GAP = 34.0

Point = tuple[float, float]
Size = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where boxes lie: the upper left corner of each. An arrow goes through its points."""

    width: float
    height: float
    corners: tuple[Point, ...]
    ways: tuple[tuple[Point, ...], ...]


def lay_out(sizes: Sequence[Size], arrows: Sequence[tuple[int, int]]) -> Layout:
    """A layout of boxes of these sizes; `ways` has one for each of `arrows`. Circles are allowed: one of their arrows
    then leads upwards."""
    if not sizes:
        return Layout(0, 0, (), ())
    down = _without_circles(len(sizes), arrows)
    layer = _layers(len(sizes), down)
    chains, owners = _chains(layer, down)
    widths = [sizes[i][0] if i < len(sizes) else 0.0 for i in range(len(owners))]
    rows = _rows(owners)
    before, after = _neighbours(len(owners), chains)
    _order(rows, before, after)
    centres = _centres(rows, widths, before, after, boxes=len(sizes))
    tops = _tops(rows, sizes)
    left = min(centres[i] - widths[i] / 2 for i in range(len(owners)))
    centres = [x - left for x in centres]
    heights = [max((sizes[i][1] for i in row if i < len(sizes)), default=0.0) for row in rows]
    corners = tuple(
        (centres[i] - w / 2, tops[layer[i]] + (heights[layer[i]] - h) / 2) for i, (w, h) in enumerate(sizes)
    )
    ways = []
    for (a, b), chain in zip(arrows, chains, strict=True):
        points: list[Point] = []
        for i in chain[1:-1]:
            y = tops[owners[i]]
            points += [(centres[i], y), (centres[i], y + heights[owners[i]])]
        first, last = chain[0], chain[-1]
        way = [
            (centres[first], corners[first][1] + sizes[first][1]),
            *points,
            (centres[last], corners[last][1]),
        ]
        ways.append(tuple(way if first == a else reversed(way)))
        assert {first, last} == {a, b}
    width = max(centres[i] + widths[i] / 2 for i in range(len(owners)))
    return Layout(width, tops[-1] + heights[-1], corners, tuple(ways))


def _without_circles(count: int, arrows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The arrows, some turned round so that no circle is left."""
    before: dict[int, set[int]] = {i: set() for i in range(count)}
    for a, b in arrows:
        before[b].add(a)
    try:
        TopologicalSorter(before).prepare()
    except CycleError:
        # The order of the boxes is nearly one in which each comes after what it reads.
        return [(min(arrow), max(arrow)) for arrow in arrows]
    return list(arrows)


def _layers(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    """By the longest path from above; what only feeds one that lies far below moves down to it."""
    before: dict[int, set[int]] = {i: set() for i in range(count)}
    after: dict[int, set[int]] = {i: set() for i in range(count)}
    for a, b in arrows:
        before[b].add(a)
        after[a].add(b)
    order = list(TopologicalSorter(before).static_order())
    layer = [0] * count
    for i in order:
        layer[i] = max((layer[j] + 1 for j in before[i]), default=0)
    for i in reversed(order):
        if after[i] and not before[i]:
            layer[i] = min(layer[j] for j in after[i]) - 1
    return layer


def _chains(layer: Sequence[int], arrows: Sequence[tuple[int, int]]) -> tuple[list[list[int]], list[int]]:
    """For each arrow the places it passes, stand-ins included; and the layer of every place.

    Arrows from the same box share their stand-ins, so that what is one value runs as one line.
    """
    owners = list(layer)
    passing: dict[tuple[int, int], int] = {}
    chains = []
    for a, b in arrows:
        chain = [a]
        for level in range(layer[a] + 1, layer[b]):
            if (a, level) not in passing:
                passing[a, level] = len(owners)
                owners.append(level)
            chain.append(passing[a, level])
        chains.append([*chain, b])
    return chains, owners


def _rows(owners: Sequence[int]) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(owners) + 1)]
    for i, level in enumerate(owners):
        rows[level].append(i)
    return rows


def _neighbours(count: int, chains: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[list[int]]]:
    before: list[dict[int, None]] = [{} for _ in range(count)]
    after: list[dict[int, None]] = [{} for _ in range(count)]
    for chain in chains:
        for a, b in pairwise(chain):
            before[b][a] = None
            after[a][b] = None
    return [list(b) for b in before], [list(a) for a in after]


def _order(rows: list[list[int]], before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> None:
    """Sort each row by the middle of its neighbours, downwards and upwards in turn."""
    place = [0.0] * len(before)
    for row in rows:
        for n, i in enumerate(row):
            place[i] = float(n)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        neighbours = before if downwards else after
        for row in rows if downwards else reversed(rows):
            middle = {
                i: sum(place[j] for j in neighbours[i]) / len(neighbours[i]) if neighbours[i] else place[i] for i in row
            }
            row.sort(key=middle.__getitem__)
            for n, i in enumerate(row):
                place[i] = n - (len(row) - 1) / 2


def _centres(
    rows: Sequence[Sequence[int]],
    widths: Sequence[float],
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
    *,
    boxes: int,
) -> list[float]:
    centres = [0.0] * len(before)
    for row in rows:
        for i, x in zip(row, _apart(row, [0.0] * len(row), widths, boxes), strict=True):
            centres[i] = x
    for sweep in range(_PULLS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = []
            for i in row:
                near = [*before[i], *after[i]] if sweep > 1 else [*before[i]] if sweep == 0 else [*after[i]]
                pulls = [_STRAIGHT if i >= boxes and j >= boxes else 1 for j in near]
                pulled = sum(centres[j] * pull for j, pull in zip(near, pulls, strict=True))
                wanted.append(pulled / sum(pulls) if near else centres[i])
            for i, x in zip(row, _apart(row, wanted, widths, boxes), strict=True):
                centres[i] = x
    return centres


def _apart(row: Sequence[int], wanted: Sequence[float], widths: Sequence[float], boxes: int) -> list[float]:
    """The centres nearest to `wanted`, in squares, that keep the row's order and its gaps: pooled neighbours."""
    offsets, offset = [], 0.0
    for n, i in enumerate(row):
        if n:
            gap = _GAP if i < boxes and row[n - 1] < boxes else _PASSING_GAP
            offset += widths[row[n - 1]] / 2 + gap + widths[i] / 2
        offsets.append(offset)
    pools: list[tuple[float, int]] = []
    for x, shift in zip(wanted, offsets, strict=True):
        pools.append((x - shift, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, n), (other, m) = pools[-2:]
            pools[-2:] = [((one * n + other * m) / (n + m), n + m)]
    flat = [x for x, n in pools for _ in range(n)]
    return [x + shift for x, shift in zip(flat, offsets, strict=True)]


def _tops(rows: Sequence[Sequence[int]], sizes: Sequence[Size]) -> list[float]:
    tops, y = [], 0.0
    for row in rows:
        tops.append(y)
        y += max((sizes[i][1] for i in row if i < len(sizes)), default=0.0) + _LAYER_GAP
    return tops
