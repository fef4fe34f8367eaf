"""Boxes drawn onto pictures, and two pictures set side by side. The same detections give the same pixels."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trtreg.tasks.truth import Array

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from trtreg.core.detection import Found

_GOLDEN = 0.618033988749895
_LONGEST_LABEL = 40


def colour(kind: int) -> tuple[int, int, int]:
    """Of a class: hues far apart for numbers that are near."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + kind * _GOLDEN) % 1, 0.85, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def marked(picture: Array, found: Sequence[Found]) -> Array:
    """A copy of uint8[height, width, 3] with a box and a label for each, the best on top."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(np.ascontiguousarray(picture))
    draw = ImageDraw.Draw(image)
    shorter = min(image.size)
    line = max(2, round(shorter / 240))
    font = ImageFont.load_default(size=max(12, round(shorter / 36)))
    for one in reversed(found):
        left, top, right, bottom = one.corners
        draw.rectangle((left, top, max(right, left), max(bottom, top)), outline=colour(one.kind), width=line)
    # After all boxes, so that no line crosses out a word.
    for one in reversed(found):
        _label(draw, font, one, image.size)
    return np.asarray(image)


def _label(draw: ImageDraw, font: object, one: Found, size: tuple[int, int]) -> None:
    score = "" if one.score is None else f" {one.score:.2f}"
    text = _shown(one.name)[:_LONGEST_LABEL] + score
    _, _, width, height = draw.textbbox((0, 0), text, font=font)  # type: ignore[arg-type]
    width, height = width + 6, height + 4
    # Above its box, or inside where there is no room; never beyond the picture's edges.
    left = max(0.0, min(one.corners[0], size[0] - width))
    top = one.corners[1] - height if one.corners[1] >= height else one.corners[1]
    back = colour(one.kind)
    draw.rectangle((left, top, left + width, top + height), fill=back)
    bright = 0.299 * back[0] + 0.587 * back[1] + 0.114 * back[2]
    draw.text((left + 3, top + 1), text, fill=(0, 0, 0) if bright > 140 else (255, 255, 255), font=font)  # type: ignore[arg-type]


def beside(left: Array, right: Array, titles: tuple[str, str]) -> Array:
    """Two pictures of one size, each under its title."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = left.shape[:2]
    gap, bar = max(4, width // 160), max(24, round(min(height, width) / 18))
    image = Image.new("RGB", (2 * width + gap, height + bar), (32, 32, 32))
    draw = ImageDraw.Draw(image)
    for at, picture, title in ((0, left, titles[0]), (width + gap, right, titles[1])):
        image.paste(Image.fromarray(np.ascontiguousarray(picture)), (at, bar))
        points = round(0.62 * bar)
        while points > 8 and draw.textlength(_shown(title), font=ImageFont.load_default(size=points)) > width - 12:
            points -= 1
        draw.text(
            (at + 6, bar / 2),
            _shown(title),
            fill=(255, 255, 255),
            font=ImageFont.load_default(size=points),
            anchor="lm",
        )
    return np.asarray(image)


def _shown(text: str) -> str:
    """A model may call its classes whatever it likes."""
    return "".join(c if c.isprintable() else "?" for c in text)
