"""What a file is, from its bytes: for `trtreg inspect FILE`. Nothing is loaded into a runtime or unpickled.

onnx is imported only for a file that may be ONNX, so that a machine which merely fetches plans can inspect them.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from trtreg.core.model import ModelFacts
from trtreg.core.plan_header import HEADER_SIZE, PlanHeader, read_plan_header
from trtreg.errors import UnusableModel
from trtreg.onnx_models.file_kinds import HEAD, FileKind, begins_like_onnx, recognise
from trtreg.onnx_models.regular_files import open_regular
from trtreg.onnx_models.wording import printable

ONNX = "ONNX model"
OPTIMISED = "ONNX Runtime plan (optimised ONNX)"
NPZ = "NumPy archive (.npz)"
PYTORCH = "PyTorch checkpoint"
TORCHSCRIPT = "TorchScript program"

ADVISORY = "header facts are diagnostic only: digest and signature say whether a plan is the right one"
_PICKLED = "it holds a Python pickle: loading one runs whatever code is in it"
_BLOCKED_LAYOUT = "com.microsoft.nchwc"
_MOST_JSON = 1 << 24
"""A JSON text before something else is read up to this many bytes, whatever length it claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a file turned out to be.

    kind     in words: a `FileKind`, or one that only a closer look tells
    size     bytes of the file itself
    details  what else is known, by name, in the order to show it
    notes    what a person should know about such files
    problem  why the file can't be used as what it is; empty if nothing speaks against it
    facts    of a sound ONNX model
    """

    kind: str
    size: int
    details: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problem: str = ""
    facts: ModelFacts | None = None


def inspect_file(path: Path) -> Inspection:
    """What the file at `path` is. A damaged or hostile file is an answer here, not an error.

    Raises NotFound; UsageError for a folder or a lacking permission; UnusableModel for what is no regular file.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        head = os.pread(file.fileno(), HEAD, 0)
        kind = recognise(head)
        if kind is not FileKind.UNMARKED:
            return _LOOKS.get(kind, _look_no_closer)(kind, file, size)
    return _look_for_onnx(path, size, head)


# --- plans -------------------------------------------------------------------------------------------------


def _look_at_plan(_kind: FileKind, file: BinaryIO, size: int) -> Inspection:
    return _plan_at(file, 0, size)


def _look_at_prefixed_plan(kind: FileKind, file: BinaryIO, size: int) -> Inspection:
    """Ultralytics' `.engine`: the length of a JSON text in 4 bytes, the text, the plan."""
    (length,) = struct.unpack("<I", os.pread(file.fileno(), 4, 0))
    metadata = _json_at(file, 4, length)
    if not isinstance(metadata, dict):
        return Inspection(kind=kind, size=size, problem=f"its first {length} bytes of JSON can't be read")
    start = 4 + length
    plan = _plan_at(file, start, size)
    return replace(
        plan,
        kind=f"{plan.kind} behind a JSON prefix",
        details=plan.details | {f"prefix {name}": printable(value) for name, value in metadata.items()},
        notes=(f"as Ultralytics writes it; the bare plan begins at byte {start}", *plan.notes),
    )


def _plan_at(file: BinaryIO, start: int, size: int) -> Inspection:
    plan_size = max(size - start, 0)
    try:
        header = read_plan_header(os.pread(file.fileno(), HEADER_SIZE, start))
    except ValueError as error:
        return Inspection(kind=FileKind.PLAN, size=size, problem=str(error))
    problem = ""
    if header.is_cut_off(plan_size):
        problem = f"its header says {header.file_size} bytes, there are {plan_size}: cut off or damaged"
    kind = "TensorRT-RTX plan" if header.flavour == "tensorrt-rtx" else FileKind.PLAN
    return Inspection(kind=kind, size=size, details=_plan_details(header), notes=(ADVISORY,), problem=problem)


def _plan_details(header: PlanHeader) -> dict[str, str]:
    details = {"runtime": header.flavour, "version": header.version}
    if header.architectures:
        details["architectures"] = ", ".join(header.architectures)
    elif header.architecture_mask is not None:
        details["architectures"] = f"mask {header.architecture_mask:#x}, whose meaning in {header.version} isn't known"
    if header.cuda:
        details["cuda"] = header.cuda
    if header.weight_bytes is not None:
        details["weight bytes"] = str(header.weight_bytes)
    return details


# --- files that hold weights or point to them ----------------------------------------------------------------


def _look_no_closer(kind: FileKind, _file: BinaryIO, size: int) -> Inspection:
    return Inspection(kind=kind, size=size, notes=(_PICKLED,) if kind is FileKind.PICKLE else ())


def _look_at_pointer(kind: FileKind, file: BinaryIO, size: int) -> Inspection:
    text = os.pread(file.fileno(), HEAD, 0).decode(errors="replace")
    entries = {name: value for name, _, value in (line.partition(" ") for line in text.splitlines())}
    details = {name: printable(value) for name, value in entries.items() if name in ("oid", "size")}
    return Inspection(kind=kind, size=size, details=details, problem="the file it stands for isn't here: git lfs pull")


def _look_at_safetensors(kind: FileKind, file: BinaryIO, size: int) -> Inspection:
    (length,) = struct.unpack("<Q", os.pread(file.fileno(), 8, 0))
    header = _json_at(file, 8, length)
    if not isinstance(header, dict):
        return Inspection(kind=kind, size=size, problem=f"its header of {length} bytes can't be read")
    tensors = [entry for name, entry in header.items() if name != "__metadata__" and isinstance(entry, dict)]
    dtypes = sorted({printable(entry.get("dtype")) for entry in tensors})
    details = {"tensors": str(len(tensors)), "dtypes": ", ".join(dtypes[:10])}
    return Inspection(kind=kind, size=size, details=details, notes=("weights without a graph",))


def _look_at_zip(kind: FileKind, file: BinaryIO, size: int) -> Inspection:
    """By the names in its directory; no member is unpacked."""
    try:
        names = zipfile.ZipFile(file).namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        return Inspection(kind=kind, size=size, problem=f"its directory can't be read: {error}")
    details = {"members": str(len(names)), "first": ", ".join(printable(name) for name in names[:5])}
    inner = {name.partition("/")[2] for name in names}
    if "data.pkl" in inner and "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return Inspection(kind=TORCHSCRIPT, size=size, details=details, notes=(_PICKLED,))
    if "data.pkl" in inner:
        return Inspection(kind=PYTORCH, size=size, details=details, notes=(_PICKLED,))
    is_npz = bool(names) and all(name.endswith(".npy") for name in names)
    return Inspection(kind=NPZ if is_npz else kind, size=size, details=details)


_LOOKS: Mapping[FileKind, Callable[[FileKind, BinaryIO, int], Inspection]] = {
    FileKind.PLAN: _look_at_plan,
    FileKind.PREFIXED_PLAN: _look_at_prefixed_plan,
    FileKind.LFS_POINTER: _look_at_pointer,
    FileKind.SAFETENSORS: _look_at_safetensors,
    FileKind.ZIP: _look_at_zip,
}


# --- ONNX, which has no mark ---------------------------------------------------------------------------------


def _look_for_onnx(path: Path, size: int, head: bytes) -> Inspection:
    try:
        from trtreg.onnx_models.examine import open_examined
    except ModuleNotFoundError as error:
        problem = f"{error.name} isn't installed, so it can't be seen whether this is an ONNX model"
        return Inspection(kind=FileKind.UNMARKED, size=size, problem=problem)
    try:
        model, facts = open_examined(path)
    except UnusableModel as error:
        kind = ONNX if begins_like_onnx(head) else FileKind.UNMARKED
        return Inspection(kind=kind, size=size, problem=error.message)
    domains = {entry.domain for entry in model.opset_import}
    return Inspection(
        kind=OPTIMISED if _BLOCKED_LAYOUT in domains else ONNX,
        size=size,
        details={"external data": ", ".join(f.name for f in facts.source.files if f.name != path.name) or "none"},
        notes=tuple(_notes_on(facts, domains)),
        facts=facts,
    )


def _notes_on(facts: ModelFacts, domains: set[str]) -> list[str]:
    notes = []
    if any(operator.startswith(f"{_BLOCKED_LAYOUT}::") for operator in facts.operators):
        notes.append("its weights lie in one CPU's blocked layout; where that differs, it answers wrongly")
    foreign = sorted({operator.partition("::")[0] for operator in facts.operators if "::" in operator})
    if foreign:
        notes.append(f"operators beyond ONNX's own: {', '.join(printable(domain) for domain in foreign[:10])}")
    if missing := [domain for domain in foreign if domain not in domains]:
        notes.append(f"operator sets used and not imported: {', '.join(printable(domain) for domain in missing[:10])}")
    return notes


def _json_at(file: BinaryIO, start: int, length: int) -> object:
    """The JSON value in these bytes; None if there is none, or if they aren't all there."""
    text = os.pread(file.fileno(), min(length, _MOST_JSON), start)
    try:
        return json.loads(text) if len(text) == length else None
    except (ValueError, RecursionError):
        return None
