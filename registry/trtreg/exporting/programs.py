"""What kind of PyTorch or TensorFlow file it is, and whether it may be opened: read from its directory and texts,
nothing is loaded.

A checkpoint is a Python pickle: whoever loads it runs whatever code is in it. The two kinds of program hold code, too,
but code that PyTorch checks and runs in its own terms; where the loader would trust a text more than that, the text is
looked at first. That is vetting, not proof.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from trtreg.errors import Untrusted, UnusableModel
from trtreg.exporting.tensorflow_vetting import (
    frozen_graph_reasons,
    is_graph,
    keras_reasons,
    saved_model_reasons,
    tflite_reasons,
)

_MOST_TEXT = 1 << 28
"""Bytes of one text in an archive, unpacked: exported programs of large models describe thousands of nodes."""
_SHOWN = 60


class ProgramKind(StrEnum):
    """In words."""

    TORCHSCRIPT = "TorchScript program"
    EXPORTED = "torch.export program"
    CHECKPOINT = "PyTorch checkpoint"
    SAVED_MODEL = "TensorFlow SavedModel"
    KERAS = "Keras model"
    TFLITE = "TensorFlow Lite model"
    FROZEN_GRAPH = "frozen TensorFlow graph"

    @property
    def framework(self) -> str:
        """That it is a program of, in words."""
        return "PyTorch" if self in (self.TORCHSCRIPT, self.EXPORTED, self.CHECKPOINT) else "TensorFlow"


SAVED_MODEL_FILE = "saved_model.pb"
"""In the folder that is a SavedModel."""


_ADVICE = "if you trust whoever made it as you trust a program of theirs: --unsafe-code"

_TOUCHES_FILES = re.compile(r"\b(?:torch|ops\.[a-z_]+)\.(?:from_file|save|load|_?package)\b")
"""Of TorchScript's own operators those that open files."""

_NAME = re.compile(r"[A-Za-z_][\w.]*\Z")
_TARGET = re.compile(
    r"(?:torch\.ops\.(?:aten|prims|prim|quantized|quantized_decomposed|torchvision|higher_order)|_operator|math)\.[\w.]+\Z"
)
_FORMULA = re.compile(r"[\w\s+\-*/%()<>=&|~,.']*\Z")
_CALL = re.compile(r"([A-Za-z_][\w.]*)\s*\(")
_CALLED = frozenset(
    [
        "Symbol",
        "Integer",
        "Float",
        "Rational",
        "Add",
        "Mul",
        "Pow",
        "Max",
        "Min",
        "Mod",
        "FloorDiv",
        "CleanDiv",
        "CeilDiv",
        "PythonMod",
        "ModularIndexing",
        "Where",
        "Eq",
        "Ne",
        "Lt",
        "Le",
        "Gt",
        "Ge",
        "And",
        "Or",
        "Not",
        "ToFloat",
        "IntTrueDiv",
        "FloatTrueDiv",
        "TruncToInt",
        "RoundToInt",
        "RoundDecimal",
        "FloorToInt",
        "CeilToInt",
        "Abs",
        "PowByNatural",
        "FloatPow",
        "Identity",
        "Piecewise",
        "ceiling",
        "floor",
        "sqrt",
    ]
)


def program_kind(path: Path) -> ProgramKind | None:
    """The kind of the folder, archive, pickle or graph at `path`; None for what is none of these frameworks'."""
    if (path / SAVED_MODEL_FILE).is_file():
        return ProgramKind.SAVED_MODEL
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:] == b"TFL3":
        return ProgramKind.TFLITE
    if head[:1] == b"\n":
        return ProgramKind.FROZEN_GRAPH if is_graph(path.read_bytes()) else None
    if head[:1] == b"\x80":
        return ProgramKind.CHECKPOINT
    return _kind_of_archive(path) if head.startswith(b"PK") else None


def _kind_of_archive(path: Path) -> ProgramKind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            inner = {name.partition("/")[2] for name in archive.namelist()} | set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return None
    if "serialized_exported_program.json" in inner or {"models/model.json", "archive_format"} <= inner:
        return ProgramKind.EXPORTED
    if {"data.pkl", "constants.pkl"} <= inner and any(name.startswith("code/") for name in inner):
        return ProgramKind.TORCHSCRIPT
    if {"config.json", "model.weights.h5"} <= inner:
        return ProgramKind.KERAS
    return ProgramKind.CHECKPOINT if "data.pkl" in inner else None


def require_loadable(path: Path, kind: ProgramKind) -> None:
    """Raise Untrusted for what loading would let run as Python, or lets near files; UnusableModel for what can't be
    read."""
    if kind is ProgramKind.CHECKPOINT:
        raise Untrusted(
            f"{path.name} is a Python pickle: loading it runs whatever code is in it",
            hint=f"save the model as TorchScript or by torch.export instead; {_ADVICE}",
        )
    try:
        for reason in _reasons_of(path, kind):
            raise Untrusted(f"{path.name}: {reason}", hint=_ADVICE)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, NotImplementedError, RuntimeError) as error:
        raise UnusableModel(f"{path.name} can't be read: {error}", hint="copy or save it again") from None


def _reasons_of(path: Path, kind: ProgramKind) -> Iterator[str]:
    match kind:
        case ProgramKind.SAVED_MODEL:
            return saved_model_reasons((path / SAVED_MODEL_FILE).read_bytes())
        case ProgramKind.FROZEN_GRAPH:
            return frozen_graph_reasons(path.read_bytes())
        case ProgramKind.TFLITE:
            return tflite_reasons(path.read_bytes())
        case ProgramKind.KERAS:
            return keras_reasons(path)
        case ProgramKind.TORCHSCRIPT:
            return _script_reasons(path)
        case _:
            return _exported_reasons(path)


def _script_reasons(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".py") and (found := _TOUCHES_FILES.search(_text(archive, name))):
                yield f"its code calls {found[0]}, which opens files"


def _exported_reasons(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield from _reasons_in(json.loads(_text(archive, name)))


def _reasons_in(value: object) -> Iterator[str]:
    """What the loader would take for Python, wherever it stands."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as members:
                for key, member in members.items():
                    if reason := _reason(str(key), member):
                        yield reason
                    waiting.append(member)
            case list() as members:
                waiting += members


def _reason(key: str, member: object) -> str:
    match key, member:
        case "guards_code", list() as guards if guards:
            return "it brings guards, which are Python code"
        case "use_pickle", True:
            return "it holds a pickled value"
        case "expr_str", str(formula) if not _is_plain(formula):
            return f"{formula[:_SHOWN]!r} is no plain formula of sizes"
        case "target", str(target) if not (_TARGET.match(target) or (_NAME.match(target) and "." not in target)):
            return f"it calls {target[:_SHOWN]!r}"
        case "name", str(name) if name and not _NAME.match(name):
            return f"{name[:_SHOWN]!r} is no plain name"
    return ""


def _is_plain(formula: str) -> bool:
    calls = set(_CALL.findall(formula))
    attributes = re.search(r"[A-Za-z_)\]']\s*\.", formula)
    return bool(_FORMULA.match(formula)) and "__" not in formula and calls <= _CALLED and not attributes


def _text(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        content = file.read(_MOST_TEXT + 1)
    if len(content) > _MOST_TEXT:
        raise ValueError(f"{name[:_SHOWN]!r} is larger than {_MOST_TEXT} bytes")
    return content.decode()
