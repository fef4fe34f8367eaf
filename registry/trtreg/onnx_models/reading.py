"""Reading an ONNX file that nobody vouches for: a sound model, or UnusableModel with one line that says why.

The weights of a sound model may lie in other files. They are measured, not loaded: a model of any size is read
with the memory of its graph. What is checked is the structure: that the tensors have the bytes that their shapes
ask for, that the graphs hang together, that nothing leads out of the model's folder. Operators, types and shapes
are the runtime's business; onnx.checker, which refuses graphs that ONNX Runtime runs, isn't asked.
"""

from __future__ import annotations

import os
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from trtreg.errors import UnusableModel
from trtreg.onnx_models.external_files import external_range, external_ranges, require_files
from trtreg.onnx_models.file_kinds import HEAD, FileKind, recognise
from trtreg.onnx_models.graph_check import require_sound_graphs
from trtreg.onnx_models.regular_files import open_regular
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
    return parse_model(read_content(path), path)


def read_content(path: Path) -> bytes:
    """The bytes of a file that may be an ONNX model, of at most `MOST_BYTES`. Raises as `open_model` does."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        kind = recognise(os.pread(file.fileno(), HEAD, 0))
        if kind is not FileKind.UNMARKED:
            raise UnusableModel(f"{path.name}: {kind}, not an ONNX model", hint=_HINTS.get(kind, _EXPORT_AGAIN))
        if size > MOST_BYTES:
            raise UnusableModel(
                f"{path.name}: {size} bytes, while protobuf reads at most {MOST_BYTES}",
                hint="save the model with its weights beside it (onnx.save_model, save_as_external_data)",
            )
        return file.read()


def parse_model(content: bytes, path: Path) -> ModelProto:
    """The sound model that `content`, read from `path`, holds; external data lies beside `path`.

    Raises UnusableModel.
    """
    try:
        model = _parsed(content)
        _require_sound(model, path.parent)
    except UnusableModel as error:
        raise UnusableModel(f"{path.name}: {error.message}", hint=error.hint) from None
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
            external_range(tensor) if is_external(tensor) else require_sound(tensor)
        except UnusableModel as error:
            raise UnusableModel(f"tensor {shown(tensor.name)}: {error.message}", hint=error.hint) from None
    require_files(external_ranges(model), folder)


def _require_operator_sets(model: ModelProto) -> None:
    domains = [entry.domain for entry in model.opset_import]
    if not domains:
        raise UnusableModel("it imports no operator set: cut off, or not an ONNX model", hint=_EXPORT_AGAIN)
    if len(set(domains)) < len(domains):
        raise UnusableModel("it imports an operator set twice", hint=_EXPORT_AGAIN)
