"""Reading an ONNX file that nobody vouches for: a sound model, or UnusableModel with one line that says why.

The weights of a sound model may lie in other files. They are measured, not loaded: a model of any size is read
with the memory of its graph. What is checked is the structure: that the tensors have the bytes that their shapes
ask for, that the graphs hang together, that nothing leads out of the model's folder. Operators, types and shapes
are the runtime's business; onnx.checker, which refuses graphs that ONNX Runtime runs, isn't asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from trtreg.errors import UnusableModel
from trtreg.onnx_models.external_files import external_range, external_ranges, require_files
from trtreg.onnx_models.file_kinds import HEAD, FileKind, recognise
from trtreg.onnx_models.graph_check import require_sound_graphs
from trtreg.onnx_models.regular_files import open_regular
from trtreg.onnx_models.skimming import Irregular, skim
from trtreg.onnx_models.tensors import is_external, require_sound
from trtreg.onnx_models.walking import parts
from trtreg.onnx_models.wording import shown

MOST_BYTES = (1 << 31) - 1
"""protobuf reads no message that is longer."""

_EXPORT_AGAIN = "export the model again"
_HINTS = {
    FileKind.EMPTY: "copy or export it again",
    FileKind.LFS_POINTER: "run: git lfs pull",
    FileKind.PLAN: "name the ONNX model that the plan was built from",
    FileKind.PREFIXED_PLAN: "name the ONNX model that the plan was built from",
    FileKind.ORT: "name the ONNX model that it was made from",
    FileKind.GZIP: "unpack it first: gunzip",
    FileKind.ZIP: "unpack it, or export the checkpoint to ONNX (torch.onnx.export)",
    FileKind.PICKLE: "export the checkpoint to ONNX (torch.onnx.export)",
    FileKind.SAFETENSORS: "it holds weights without a graph: export the model to ONNX",
}


def open_model(path: Path) -> ModelProto:
    """The sound model in the ONNX file `path`, without its external data, which is checked to be there.

    Raises NotFound, UsageError for a folder, and UnusableModel with the name of the file.
    """
    with _open_candidate(path) as file:
        content = file.read()
    return _parse_named(content, path)


def skim_model(path: Path) -> ModelProto:
    """The same model as from `open_model`, but heavy weights stay in the file, as external data of it does."""
    with _open_candidate(path) as file:
        # A link's own folder isn't where its weights lie.
        content = b"" if path.is_symlink() else _skimmed(file, path.name)
        content = content or file.read()
    return _parse_named(content, path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an UnusableModel that is raised inside begin with the name of the file."""
    try:
        yield
    except UnusableModel as error:
        raise UnusableModel(f"{path.name}: {error.message}", hint=error.hint) from None


def _open_candidate(path: Path) -> BinaryIO:
    """The file at `path`, if it may be an ONNX model."""
    file = open_regular(path)
    try:
        with naming(path):
            _require_candidate(os.pread(file.fileno(), HEAD, 0), os.fstat(file.fileno()).st_size)
    except UnusableModel:
        file.close()
        raise
    return file


def _require_candidate(head: bytes, size: int) -> None:
    kind = recognise(head)
    if kind is not FileKind.UNMARKED:
        raise UnusableModel(f"{kind}, not an ONNX model", hint=_HINTS.get(kind, _EXPORT_AGAIN))
    if size > MOST_BYTES:
        raise UnusableModel(
            f"{size} bytes, while protobuf reads at most {MOST_BYTES}",
            hint="save the model with its weights beside it (onnx.save_model, save_as_external_data)",
        )


def _skimmed(file: BinaryIO, name: str) -> bytes:
    try:
        return skim(file, name)
    except Irregular:
        return b""


def _parse_named(content: bytes, path: Path) -> ModelProto:
    with naming(path):
        model = _parsed(content)
        _require_sound(model, path.parent)
    return model


def _parsed(content: bytes) -> ModelProto:
    try:
        model: ModelProto = ModelProto.FromString(content)
    except DecodeError as error:
        if "MaxDepth" in str(error):
            raise UnusableModel("its subgraphs are nested deeper than protobuf reads", hint=_EXPORT_AGAIN) from None
        raise UnusableModel(
            f"its {len(content)} bytes aren't an ONNX model, or not a whole one",
            hint="compare its size with the original's and copy it again",
        ) from None
    # protobuf takes some bytes that mean nothing to it for a message whose fields it doesn't know.
    if not model.HasField("graph"):
        raise UnusableModel(f"its {len(content)} bytes hold no graph: not an ONNX model", hint=_EXPORT_AGAIN)
    return model


def _require_sound(model: ModelProto, folder: Path) -> None:
    _require_operator_sets(model)
    require_sound_graphs(model)
    for tensor in parts(model, TensorProto):
        try:
            require_sound(tensor)
            if is_external(tensor):
                external_range(tensor)
        except UnusableModel as error:
            raise UnusableModel(f"tensor {shown(tensor.name)}: {error.message}", hint=error.hint) from None
    require_files(external_ranges(model), folder)


def _require_operator_sets(model: ModelProto) -> None:
    domains = [entry.domain for entry in model.opset_import]
    if not domains:
        raise UnusableModel("it imports no operator set: cut off, or not an ONNX model", hint=_EXPORT_AGAIN)
    if len(set(domains)) < len(domains):
        raise UnusableModel("it imports an operator set twice", hint=_EXPORT_AGAIN)
