"""What kind of file begins with these bytes. ONNX itself has no mark: what isn't known here may be ONNX."""

from __future__ import annotations

from enum import StrEnum

from trtreg.core.plan_header import is_plan

HEAD = 512
"""Bytes from the start of a file that suffice here."""

_LFS = b"version https://git-lfs.github.com/spec/"


class FileKind(StrEnum):
    """By what a file's first bytes say. UNMARKED may be ONNX, or anything else without a mark."""

    EMPTY = "empty file"
    LFS_POINTER = "Git LFS pointer"
    PLAN = "TensorRT plan"
    PREFIXED_PLAN = "TensorRT plan behind a JSON prefix"
    ORT = "ONNX Runtime flatbuffer (.ort)"
    ZIP = "zip archive"
    SAFETENSORS = "safetensors file"
    PICKLE = "Python pickle"
    GZIP = "gzip archive"
    NPY = "NumPy array"
    HDF5 = "HDF5 file"
    TFLITE = "TensorFlow Lite model"
    GGUF = "GGUF model"
    UNMARKED = "file without a known mark"


_MARKS: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, _LFS, FileKind.LFS_POINTER),
    (0, b"PK\x03\x04", FileKind.ZIP),
    (0, b"PK\x05\x06", FileKind.ZIP),
    (0, b"\x1f\x8b", FileKind.GZIP),
    (0, b"\x93NUMPY", FileKind.NPY),
    (0, b"\x89HDF\r\n\x1a\n", FileKind.HDF5),
    (0, b"GGUF", FileKind.GGUF),
    (4, b"ORTM", FileKind.ORT),
    (4, b"TFL3", FileKind.TFLITE),
    # Ultralytics writes the length of a JSON text, the text, then the plan.
    (4, b'{"', FileKind.PREFIXED_PLAN),
    (8, b'{"', FileKind.SAFETENSORS),
    *((0, bytes((0x80, protocol)), FileKind.PICKLE) for protocol in range(2, 6)),
)


def recognise(head: bytes) -> FileKind:
    """The kind of the file that begins with `head`, `HEAD` bytes of it or the whole file if that is shorter."""
    if not head:
        return FileKind.EMPTY
    if is_plan(head):
        return FileKind.PLAN
    for offset, mark, kind in _MARKS:
        # A mark further in follows a small number, whose high byte is 0. In an ONNX file the text of its producer
        # may stand there, and its length is never 0.
        if head.startswith(mark, offset) and (offset == 0 or head[offset - 1] == 0):
            return kind
    return FileKind.UNMARKED


def begins_like_onnx(head: bytes) -> bool:
    """Whether `head` begins as every ONNX writer begins: with the IR version, a small number. A guess, no proof."""
    return len(head) > 1 and head[0] == 0x08 and 0 < head[1] < 0x40
