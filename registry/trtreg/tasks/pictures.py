"""Reading pictures: untrusted files, as colours that a network takes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trtreg.errors import NotFound, UsageError
from trtreg.tasks.truth import Array, picture_name

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def find_pictures(folder: Path) -> list[Path]:
    """The picture files in `folder` and below, by name. Raises NotFound where there are none, UsageError for two of
    one name, which labels couldn't tell apart."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise NotFound(f"there are no pictures in {folder}", hint=f"files that end in {', '.join(SUFFIXES)} are taken")
    _require_one_each(found)
    return found


def read_picture(path: Path) -> Array:
    """uint8[height, width, 3], red, green and blue, turned as the camera was held. Raises UsageError."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            # From twice as many pixels on, Pillow refuses before it decodes any.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise _unreadable(path, " ".join(str(error).split())) from None


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(f"{path.name} is no picture that can be read: {why}")


def _require_one_each(paths: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(picture_name(path), path)
        if other != path:
            raise UsageError(f"{other} and {path} have one name, and labels go by names", hint="rename one of them")
