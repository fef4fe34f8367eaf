"""A page with an outline: the picture, a key to its colours, and what is inside its groups. It needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from trtreg.core.outline import BoxKind, Outline
from trtreg.drawing.svg import FILLS, draw

_WORDS = {
    BoxKind.PRODUCT: "products",
    BoxKind.ACTIVATION: "activations",
    BoxKind.POOLING: "pooling, norms",
    BoxKind.SHAPING: "shapes, copies",
    BoxKind.QUANTIZING: "quantization",
    BoxKind.CONTROL: "control flow",
    BoxKind.OTHER: "other",
    BoxKind.GROUP: "a group: click to look inside",
}
_POLICY = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""
_STYLE = """
body{font:14px system-ui,'Segoe UI','DejaVu Sans',Arial,sans-serif;color:#222;margin:24px;background:#fff}
h1{font-size:22px;margin:0 0 8px}h2{font-size:16px;margin:28px 0 6px}
table{border-collapse:collapse;margin:0 0 12px}th{text-align:left;color:#666;font-weight:normal;padding:1px 14px 1px 0;
vertical-align:top;white-space:nowrap}td{padding:1px 0;overflow-wrap:anywhere}
.key span{display:inline-block;border:1px solid;border-radius:4px;padding:1px 8px;margin:0 6px 6px 0;font-size:12px}
.picture{overflow:auto;max-width:100%;border:1px solid #ddd;border-radius:6px;margin:8px 0}
svg{display:block;margin:0 auto}a{color:#1a5fb4}section:target h2{background:#fff3bf}
"""


def page(title: str, facts: Sequence[tuple[str, str]], outline: Outline) -> str:
    """The whole page as HTML, with `facts` as a table above the picture."""
    groups = {place: f"group-{place}" for place, box in enumerate(outline.boxes) if box.inside is not None}
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts)
    sections = []
    for place, name in groups.items():
        box = outline.boxes[place]
        assert box.inside is not None
        sections.append(
            f'<section id="{name}"><h2>{escape(box.title)} <small><a href="#top">back</a></small></h2>'
            f'<div class="picture">{draw(box.inside)}</div></section>'
        )
    picture = draw(outline, links={place: f"#{name}" for place, name in groups.items()})
    return "\n".join(
        (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
            _POLICY,
            f"<style>{_STYLE}</style></head>",
            f'<body id="top"><h1>{escape(title)}</h1><table>{rows}</table>',
            f'<div class="key">{_key(outline)}</div>',
            f'<div class="picture">{picture}</div>',
            *sections,
            "</body></html>\n",
        )
    )


def _key(outline: Outline) -> str:
    inner = [box for group in outline.boxes if group.inside for box in group.inside.boxes]
    present = {box.kind for box in (*outline.boxes, *inner)}
    return "".join(
        f'<span style="background:{FILLS[kind][0]};color:{FILLS[kind][1]}">{words}</span>'
        for kind, words in _WORDS.items()
        if kind in present
    )
