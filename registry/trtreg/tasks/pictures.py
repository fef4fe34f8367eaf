"""Reading pictures: untrusted files, as colours that a network takes."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from trtreg.errors import NotFound, Unreachable, UsageError
from trtreg.tasks.truth import Array, picture_name

Picture: TypeAlias = Path | zipfile.Path
"""A picture's file, which may lie in an archive."""

_PREVIEW_QUALITY = 78
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def find_pictures(folder: Path) -> list[Path]:
    """The picture files in `folder` and below, by name. Raises NotFound where there are none, UsageError for two of
    one name, which labels couldn't tell apart."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise NotFound(f"there are no pictures in {folder}", hint=f"files that end in {', '.join(SUFFIXES)} are taken")
    require_text(found)
    _require_one_each(found)
    return found


def require_text(paths: Iterable[Path]) -> None:
    """Raise UsageError for a name that no record can hold."""
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise UsageError(f"the name of {str(path)!a} is no UTF-8 text", hint="rename it") from None


def read_picture(path: Picture) -> Array:
    """uint8[height, width, 3], red, green and blue, turned as the camera was held. Raises UsageError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # From twice as many pixels on, Pillow refuses before it decodes any.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with path.open("rb") as file, Image.open(file) as opened:
                return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except UnidentifiedImageError:
        raise _unreadable(path, "it is in no form that is known") from None
    except (OSError, ValueError, SyntaxError, EOFError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise _unreadable(path, reason) from None


def write_picture(picture: Array, path: Path) -> None:
    """uint8[height, width, 3] in the form that the file's ending names. Raises Unreachable."""
    from PIL import Image

    try:
        Image.fromarray(picture).save(path, quality=92)
    except OSError as error:
        raise Unreachable(f"cannot write {path.name}: {error.strerror or error}") from None


def write_preview(picture: Array, path: Path, *, side: int) -> None:
    """A small JPEG of a uint8[height, width, 3], its longer side at most so many pixels."""
    from PIL import Image

    small = Image.fromarray(picture)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.save(path, "JPEG", quality=_PREVIEW_QUALITY, optimize=True)


def _unreadable(path: Picture, why: str) -> UsageError:
    return UsageError(f"{path.name} is no picture that can be read: {why}")


def _require_one_each(paths: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(picture_name(path), path)
        if other != path:
            raise UsageError(f"{other} and {path} have one name, and labels go by names", hint="rename one of them")
