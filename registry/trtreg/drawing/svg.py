"""An outline as SVG: no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from trtreg.core.outline import Box, BoxKind, Outline
from trtreg.drawing.layout import Point, Size, lay_out

_MARGIN = 16.0
_PADDING = 10.0
_LINE = 15.0
_TITLE = 18.0
_CHARACTER, _WIDE = 7.1, 8.2
"""Pixels of a letter in 12 pixels of a common sans serif, and of one in bold 13: a little too wide rather than too
narrow, since nobody knows the reader's fonts."""

FILLS: Mapping[BoxKind, tuple[str, str]] = {
    BoxKind.INPUT: ("#e8f5e9", "#2e7d32"),
    BoxKind.OUTPUT: ("#e8f5e9", "#2e7d32"),
    BoxKind.GROUP: ("#eef1f6", "#44546a"),
    BoxKind.PRODUCT: ("#e3effc", "#1a5fb4"),
    BoxKind.ACTIVATION: ("#fdecea", "#b3261e"),
    BoxKind.POOLING: ("#f3e8fd", "#6a2fa0"),
    BoxKind.SHAPING: ("#fff6e0", "#8a6100"),
    BoxKind.QUANTIZING: ("#e0f7f7", "#00696e"),
    BoxKind.CONTROL: ("#fbe4f2", "#9c1f6b"),
    BoxKind.OTHER: ("#f7f7f7", "#555555"),
}
"""Of each kind the colour inside and the one of rim and title, which stands out from white by 4.5 to 1 or more."""

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<style>
text{{font:12px system-ui,'Segoe UI','DejaVu Sans',Arial,sans-serif;fill:#222;text-anchor:middle}}
.t{{font-weight:bold;font-size:13px}}.g{{fill:#666;font-size:11px}}
.a{{fill:none;stroke:#8a94a3;stroke-width:1.3}}a{{cursor:pointer}}a:hover rect{{stroke-width:2.5}}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0L8 4L0 8z" fill="#8a94a3"/></marker></defs>
<rect width="{width}" height="{height}" fill="#fff"/>"""  # noqa: E501 - one tag


def draw(outline: Outline, *, links: Mapping[int, str] | None = None) -> str:
    """The picture. `links` has addresses for boxes, by their place."""
    sizes = [_size(box) for box in outline.boxes]
    layout = lay_out(sizes, outline.arrows)
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    parts = [
        _HEAD.format(width=f"{width:.0f}", height=f"{height:.0f}"),
        f'<g transform="translate({_MARGIN:.0f} {_MARGIN:.0f})">',
        *(f'<path class="a" marker-end="url(#tip)" d="{_curve(way)}"/>' for way in layout.ways),
    ]
    for place, (box, corner, size) in enumerate(zip(outline.boxes, layout.corners, sizes, strict=True)):
        drawn = _box(box, corner, size)
        address = (links or {}).get(place)
        parts.append(f'<a href="{escape(address)}">{drawn}</a>' if address else drawn)
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def _size(box: Box) -> Size:
    given = [f"→ {shape}" for shape in box.gives]
    lengths = [len(box.title) * _WIDE, *(len(line) * _CHARACTER for line in (*box.lines, *given))]
    lines = len(box.lines) + len(box.gives)
    return max(70.0, max(lengths) + 2 * _PADDING), _TITLE + lines * _LINE + _PADDING


def _box(box: Box, corner: Point, size: Size) -> str:
    fill, rim = FILLS[box.kind]
    x, y = corner
    width, height = size
    is_end = box.kind in (BoxKind.INPUT, BoxKind.OUTPUT)
    middle, line = x + width / 2, y + _TITLE
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{height / 2 if is_end else 5:.1f}"'
    parts = [
        f"<g><title>{escape(box.name or box.title)}</title>",
        f'<rect {place} fill="{fill}" stroke="{rim}"{_dashes(box)}/>',
        f'<text class="t" x="{middle:.1f}" y="{line:.1f}" style="fill:{rim}">{escape(box.title)}</text>',
    ]
    for text, kind in (*((t, "") for t in box.lines), *((t, ' class="g"') for t in box.gives)):
        line += _LINE
        arrow = "→ " if kind and box.kind is not BoxKind.INPUT else ""
        parts.append(f'<text{kind} x="{middle:.1f}" y="{line:.1f}">{arrow}{escape(text)}</text>')
    return "".join([*parts, "</g>"])


def _dashes(box: Box) -> str:
    return ' stroke-dasharray="5 3"' if box.kind is BoxKind.GROUP else ""


def _curve(way: Sequence[Point]) -> str:
    """Straight down where it passes a layer, bent between layers."""
    x, y = way[0]
    drawn = [f"M{x:.1f} {y:.1f}"]
    for nx, ny in way[1:]:
        if abs(nx - x) < 0.5:
            drawn.append(f"L{nx:.1f} {ny:.1f}")
        else:
            bend = (y + ny) / 2
            drawn.append(f"C{x:.1f} {bend:.1f} {nx:.1f} {bend:.1f} {nx:.1f} {ny:.1f}")
        x, y = nx, ny
    return "".join(drawn)
