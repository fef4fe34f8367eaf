"""A picture once for each that has looked at it, side by side, with what it saw drawn over it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from html import escape

from trtreg.core.evaluation import Box, Finding, ShownPicture

_SIDE = 480.0
"""Of the drawing's own units, for the longer side of a picture."""
_LETTERS, _LETTER = 17.0, 0.56
"""Their height, and the width of one as a share of it, in a common sans serif."""

ClassName = Callable[[int], str]


def store(shown: Sequence[ShownPicture], bytes_of: Mapping[str, bytes]) -> str:
    """The pictures themselves, once each, to be used by all panels."""
    symbols = []
    for number, picture in enumerate(shown):
        width, height = _size(picture)
        source = f"data:image/jpeg;base64,{b64encode(bytes_of[picture.file]).decode()}"
        symbols.append(
            f'<symbol id="p{number}" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none">'
            f'<image width="{width:g}" height="{height:g}" preserveAspectRatio="none" href="{source}"/></symbol>'
        )
    return f'<svg width="0" height="0" class="store" aria-hidden="true">{"".join(symbols)}</svg>'


def panels(number: int, picture: ShownPicture, class_name: ClassName) -> str:
    """All that have looked at it, the reference first."""
    reference = picture.findings[0]
    figures = [_panel(number, picture, finding, reference, class_name) for finding in picture.findings]
    return f'<div class="panels">{"".join(figures)}</div>'


def _panel(number: int, picture: ShownPicture, finding: Finding, reference: Finding, class_name: ClassName) -> str:
    width, height = _size(picture)
    is_reference = finding is reference
    drawn = [
        *(_box(reference.boxes[place], width, height, "missed", "") for place in finding.missed),
        *(
            _box(box, width, height, "alone" if box.alone and not is_reference else "box", _label(box, class_name))
            for box in finding.boxes
        ),
    ]
    said = "; ".join(_label(box, class_name) for box in finding.boxes) or ", ".join(map(class_name, finding.classes))
    title = f"{picture.name} as {finding.name} sees it: {said or 'nothing'}"
    caption = [escape(finding.name)]
    if finding.classes:
        caption.append(escape(", ".join(map(class_name, finding.classes))))
    if not is_reference:
        caption.append(_compared(finding))
    return (
        f'<figure><svg viewBox="0 0 {width:g} {height:g}" role="img"><title>{escape(title)}</title>'
        f'<use href="#p{number}" width="{width:g}" height="{height:g}"/>{"".join(drawn)}</svg>'
        f"<figcaption>{'<br>'.join(caption)}</figcaption></figure>"
    )


def _compared(finding: Finding) -> str:
    if finding.classes:
        return "the same best class" if finding.agreement == 1 else '<b class="bad">another best class</b>'
    extra = sum(box.alone for box in finding.boxes)
    words = [f"agreement {finding.agreement:.2f}"]
    words += [f"{len(finding.missed)} missed"] if finding.missed else []
    words += [f"{extra} alone"] if extra else []
    return ", ".join(words)


def _box(box: Box, width: float, height: float, kind: str, label: str) -> str:
    left, top = box.left * width, box.top * height
    size = f'width="{box.width * width:.1f}" height="{box.height * height:.1f}"'
    rect = f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" {size}/>'
    if not label:
        return rect
    # Within the picture, whatever the box reaches to.
    x = max(min(left + 2, width - _LETTER * _LETTERS * len(label)), 1.0)
    y = top - 4 if top > _LETTERS + 4 else top + _LETTERS
    return f'{rect}<text class="label" x="{x:.1f}" y="{y:.1f}" font-size="{_LETTERS:g}">{escape(label)}</text>'


def _label(box: Box, class_name: ClassName) -> str:
    return f"{class_name(box.kind)} {box.score:.2f}"


def _size(picture: ShownPicture) -> tuple[float, float]:
    scale = _SIDE / max(picture.width, picture.height)
    return round(picture.width * scale, 1), round(picture.height * scale, 1)
