"""Weights beside the model: where its tensors say they lie, and whether that may be believed.

A location is text from a stranger's file. It is followed only to a regular file inside the model's own folder,
by its real path, and only to a range that the file has. Nothing else is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from onnx import ModelProto, TensorProto

from trtreg.core.files import require_inner_name
from trtreg.errors import NotFound, UnusableModel, UsageError
from trtreg.onnx_models.file_kinds import HEAD, FileKind, recognise
from trtreg.onnx_models.regular_files import head_of, open_regular
from trtreg.onnx_models.tensors import byte_count, element_type, is_external
from trtreg.onnx_models.walking import parts
from trtreg.onnx_models.wording import shown

_ADVICE = "save the model again with its weights in one file beside it (onnx.save_model, save_as_external_data)"
_COPY_BOTH = "copy the model together with its weights files"
_MOST_DIGITS = 19


class ExternalRange(NamedTuple):
    """Where a tensor's elements lie: file name relative to the model's folder, offset and length in bytes."""

    name: str
    offset: int
    length: int


def external_range(tensor: TensorProto) -> ExternalRange:
    """Where an external tensor says that its elements lie; the file system isn't asked. Raises UnusableModel."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(entries) < len(tensor.external_data):
        raise UnusableModel("its external location is given twice", hint=_ADVICE)
    if not all(isinstance(text, str) for text in entries.values()):
        raise UnusableModel("its external location isn't UTF-8", hint=_ADVICE)
    if element_type(tensor.data_type).dtype == "string":
        raise UnusableModel("strings can't lie in an external file", hint=_ADVICE)
    needed = byte_count(tensor)
    offset = _number(entries, "offset", 0)
    length = _number(entries, "length", needed)
    if length != needed:
        raise UnusableModel(f"its data has {length} bytes, its shape takes {needed}", hint=_ADVICE)
    return ExternalRange(_inner_name(entries.get("location", "")), offset, length)


def external_ranges(model: ModelProto) -> set[ExternalRange]:
    """The ranges of all external tensors, each once. Raises UnusableModel."""
    return {external_range(tensor) for tensor in parts(model, TensorProto) if is_external(tensor)}


def require_files(ranges: Iterable[ExternalRange], folder: Path) -> None:
    """Raise UnusableModel unless every range lies in a file inside `folder`, and no two overlap.

    A small model whose million tensors all cover one large file would otherwise keep us hashing for days.
    """
    by_name: dict[str, list[ExternalRange]] = {}
    for item in ranges:
        by_name.setdefault(item.name, []).append(item)
    for name, items in by_name.items():
        path = path_inside(folder, name)
        with open_inside(folder, name) as file:
            size = os.fstat(file.fileno()).st_size
        furthest = max(items, key=lambda item: item.offset + item.length)
        if furthest.offset + furthest.length > size:
            raise _too_short(path, name, size, furthest)
        if sum(item.length for item in items) > size:
            raise UnusableModel(f"tensors overlap in {shown(name)}", hint=_ADVICE)


def path_inside(folder: Path, name: str) -> Path:
    """The real path of the file called `name` in the model's folder. Raises UnusableModel if it leads outside."""
    root = Path(os.path.realpath(folder))
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(root):
        raise UnusableModel(
            f"the weights file {shown(name)} is a link out of the model's folder",
            hint="put a copy of the file in its place (cp -L)",
        )
    return path


def open_inside(folder: Path, name: str) -> BinaryIO:
    """The weights file called `name`, open for reading. Raises UnusableModel."""
    path = path_inside(folder, name)
    try:
        return open_regular(path)
    except NotFound:
        raise UnusableModel(f"the weights file {shown(name)} isn't there", hint=_COPY_BOTH) from None
    except (UsageError, UnusableModel):
        raise UnusableModel(f"the weights file {shown(name)} is no file that can be read", hint=_COPY_BOTH) from None


def _inner_name(location: str) -> str:
    """`location` spelt in one way, or UnusableModel: `./weights.bin` is `weights.bin`."""
    name = str(PurePosixPath(location)) if location else ""
    try:
        require_inner_name(name)
        os.fsencode(name)
    except ValueError:
        raise UnusableModel(f"its weights lie in {shown(location)}, outside the model's folder", hint=_ADVICE) from None
    return name


def _number(entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise UnusableModel(f"the {key} of its external data is {shown(text)}", hint=_ADVICE)
    return int(text)


def _too_short(path: Path, name: str, size: int, wanted: ExternalRange) -> UnusableModel:
    message = f"{shown(name)} has {size} bytes, a tensor wants {wanted.length} at {wanted.offset}"
    if recognise(head_of(path, HEAD)) is FileKind.LFS_POINTER:
        return UnusableModel(f"{message}: it is a Git LFS pointer", hint="run: git lfs pull")
    return UnusableModel(message, hint="the weights file is cut off or of another model: copy both again")
