"""Many boxes as few: those whose names begin alike go into one, and can be looked into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import groupby, takewhile

from trtreg.core.outline import Box, BoxKind, Outline

MOST = 60
"""Boxes that a person can follow in one picture."""
_MOST_OPERATORS = 3
_ENDS = (BoxKind.INPUT, BoxKind.OUTPUT)


def grouped(outline: Outline, *, most: int = MOST) -> Outline:
    """`outline` itself if it has at most `most` boxes, else one with groups: by the deepest part of the names, between
    slashes, that makes few enough; where names say nothing, by neighbourhood."""
    if len(outline.boxes) <= most:
        return outline
    groups = _in_one_direction(_keys(outline.boxes, most), outline)
    order = list(dict.fromkeys(groups))
    place = {key: i for i, key in enumerate(order)}
    members: dict[str, list[int]] = {key: [] for key in order}
    for i, key in enumerate(groups):
        members[key].append(i)
    boxes = tuple(_box(key, members[key], outline) for key in order)
    arrows = {(place[groups[a]], place[groups[b]]) for a, b in outline.arrows}
    return Outline(boxes=boxes, arrows=tuple(sorted((a, b) for a, b in arrows if a != b)))


def _keys(boxes: Sequence[Box], most: int) -> list[str]:
    """The group of each box; one that stays alone has a group of its own."""
    best = _keys_at(boxes, 1)
    for depth in range(2, 8):
        deeper = _keys_at(boxes, depth)
        if len(set(deeper)) > most:
            break
        best = deeper
    if len(set(best)) <= most:
        return best
    # Runs of boxes that stand alone become one each; the order is one in which each comes after what it reads.
    alone = [key.startswith("#") for key in best]
    named = len({key for key in best if not key.startswith("#")})
    length = max(2, sum(alone) // max(most - named, most // 4, 1) + 1)
    keys: list[str] = []
    for is_run, run in groupby(range(len(boxes)), key=lambda i: alone[i] and boxes[i].kind not in _ENDS):
        places = list(run)
        keys += [f"#{places[n // length * length]}" if is_run else best[i] for n, i in enumerate(places)]
    return keys


def _in_one_direction(groups: list[str], outline: Outline) -> list[str]:
    """The same, where groups that read each other in a circle become the one that holds them all: `a/q` that is fed by
    `a` and feeds it belongs into `a`."""
    while True:
        before: dict[str, set[str]] = {key: set() for key in groups}
        for a, b in outline.arrows:
            if groups[a] != groups[b]:
                before[groups[b]].add(groups[a])
        try:
            TopologicalSorter(before).prepare()
        except CycleError as error:
            circle = set(error.args[1])
            whole = _shared(circle)
            if not whole:
                return groups  # Strangers to each other: an arrow leads upwards.
            groups = [whole if key in circle else key for key in groups]
        else:
            return groups


def _shared(keys: set[str]) -> str:
    """The parts that all of `keys` begin with."""
    parts = zip(*(key.split("/") for key in keys), strict=False)
    return "/".join(part[0] for part in takewhile(lambda part: len(set(part)) == 1, parts))


def _keys_at(boxes: Sequence[Box], depth: int) -> list[str]:
    keys = []
    for i, box in enumerate(boxes):
        parts = [part for part in box.name.split("/") if part]
        has_prefix = len(parts) > 1 and box.kind not in _ENDS
        keys.append("/".join(parts[: min(depth, len(parts) - 1)]) if has_prefix else f"#{i}")
    return keys


def _box(key: str, members: Sequence[int], outline: Outline) -> Box:
    if len(members) == 1:
        return outline.boxes[members[0]]
    inside = [outline.boxes[i] for i in members]
    counted = Counter(box.title for box in inside).most_common()
    lines = [f"{count} {title}" if count > 1 else title for title, count in counted[:_MOST_OPERATORS]]
    if len(counted) > _MOST_OPERATORS:
        lines.append(f"… {len(inside)} nodes in all")
    leaving = {a for a, b in outline.arrows if a in set(members) and b not in set(members)}
    gives = dict.fromkeys(shape for i in sorted(leaving) for shape in outline.boxes[i].gives)
    return Box(
        kind=BoxKind.GROUP,
        title=key if not key.startswith("#") else f"{len(inside)} nodes",
        lines=tuple(lines),
        gives=tuple(list(gives)[:_MOST_OPERATORS]),
        name=key if not key.startswith("#") else "",
        inside=_inside(members, outline),
    )


def _inside(members: Sequence[int], outline: Outline) -> Outline:
    """What is in a group, with what flows in and out of it as ends."""
    place = {i: n for n, i in enumerate(members)}
    boxes = [outline.boxes[i] for i in members]
    arrows = {(place[a], place[b]) for a, b in outline.arrows if a in place and b in place}
    ends: dict[tuple[BoxKind, int], int] = {}
    for a, b in outline.arrows:
        if (a in place) == (b in place):
            continue
        outside, kind = (b, BoxKind.OUTPUT) if a in place else (a, BoxKind.INPUT)
        if (kind, outside) not in ends:
            ends[kind, outside] = len(boxes)
            other = outline.boxes[outside]
            word = "to" if kind is BoxKind.OUTPUT else "from"
            lines, gives = (other.name,) if other.name else (), other.gives if kind is BoxKind.INPUT else ()
            boxes.append(Box(kind=kind, title=f"{word} {other.title}", lines=lines, gives=gives))
        end = ends[kind, outside]
        arrows.add((place[a], end) if kind is BoxKind.OUTPUT else (end, place[b]))
    return Outline(boxes=tuple(boxes), arrows=tuple(sorted(arrows)))
