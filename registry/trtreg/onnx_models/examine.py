"""What an ONNX file tells of its model, read without a runtime: `ModelFacts`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto, TensorShapeProto, ValueInfoProto

from trtreg.core.files import FileSet, StoredFile, file_set, require_inner_name
from trtreg.core.model import ModelFacts
from trtreg.core.signature import Signature, TensorSpec
from trtreg.errors import UnusableModel, UsageError
from trtreg.onnx_models.arithmetic import arithmetic_of
from trtreg.onnx_models.digest import hashing_threads, model_digest
from trtreg.onnx_models.external_files import external_ranges, path_inside
from trtreg.onnx_models.reading import naming, skim_model
from trtreg.onnx_models.regular_files import open_regular, sha256_of_range
from trtreg.onnx_models.tensors import element_count, element_type
from trtreg.onnx_models.walking import parts
from trtreg.onnx_models.wording import printable, shown

UNKNOWN_RANK = ("...",)
"""The dimensions of a value of which not even their number is known."""
UNKNOWN = "?"
_DEFAULT_DOMAINS = ("", "ai.onnx")


def examine(path: Path) -> ModelFacts:
    """The facts of the ONNX model in the file `path`, its external data included. Raises as `open_examined` does."""
    return open_examined(path)[1]


def open_examined(path: Path) -> tuple[ModelProto, ModelFacts]:
    """The sound model in the file `path`, its heavy weights left in their files, and the facts of it.

    All bytes are hashed twice, side by side: as files and as tensors. Raises NotFound, UsageError for a folder or
    an impossible file name, UnusableModel.
    """
    _require_plain_name(path)
    before = _stamp(path)
    model = skim_model(path)
    with naming(path), hashing_threads() as hashers:
        names = {place.name for place in external_ranges(model)} - {path.name}
        paths = {path.name: path} | {name: path_inside(path.parent, name) for name in sorted(names)}
        stamps = {name: _stamp(file) for name, file in paths.items()} | {path.name: before}
        # The whole files first: each is one long job, while the tensors fill what time is left.
        files = [hashers.submit(_stored_file, name, file) for name, file in paths.items()]
        digest = model_digest(model, path.parent, hashers=hashers)
        source = file_set([job.result() for job in files], path.name)
        if stamps != {name: _stamp(file) for name, file in paths.items()}:
            raise UnusableModel("its files changed while they were read", hint="try again once they are written")
        return model, _facts(model, digest, source)


def signature_of(model: ModelProto) -> Signature:
    """What a sound model takes and gives. Initializers that are listed as inputs are no inputs.

    A type that isn't a tensor's shows as `sequence`, `optional`, `map` … Raises UnusableModel.
    """
    initializers = {tensor.name for tensor in model.graph.initializer}
    initializers |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    return Signature(
        tuple(_spec(value) for value in model.graph.input if value.name not in initializers),
        tuple(_spec(value) for value in model.graph.output),
    )


def _facts(model: ModelProto, digest: str, source: FileSet) -> ModelFacts:
    operators = Counter(_operator(node) for node in parts(model, NodeProto))
    return ModelFacts(
        digest=digest,
        source=source,
        signature=signature_of(model),
        opset=next((entry.version for entry in model.opset_import if entry.domain in _DEFAULT_DOMAINS), 0),
        precision=arithmetic_of(model),
        operators=dict(sorted(operators.items())),
        parameters=_parameters(model),
        producer=printable(f"{model.producer_name} {model.producer_version}".strip()),
    )


def _spec(value: ValueInfoProto) -> TensorSpec:
    kind = value.type.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return TensorSpec(value.name, kind.removesuffix("_type") if kind else UNKNOWN, UNKNOWN_RANK)
    tensor = getattr(value.type, kind)
    dtype = element_type(tensor.elem_type).dtype if tensor.elem_type else UNKNOWN
    if not tensor.HasField("shape"):
        return TensorSpec(value.name, dtype, UNKNOWN_RANK)
    return TensorSpec(value.name, dtype, tuple(_dimension(dimension) for dimension in tensor.shape.dim))


def _dimension(dimension: TensorShapeProto.Dimension) -> int | str:
    if dimension.HasField("dim_value") and dimension.dim_value >= 0:
        return dimension.dim_value
    return printable(dimension.dim_param) or UNKNOWN


def _operator(node: NodeProto) -> str:
    return node.op_type if node.domain in _DEFAULT_DOMAINS else f"{node.domain}::{node.op_type}"


def _parameters(model: ModelProto) -> int:
    graphs = list(parts(model, GraphProto))
    dense = sum(element_count(tensor.dims) for graph in graphs for tensor in graph.initializer)
    return dense + sum(element_count(t.values.dims) for graph in graphs for t in graph.sparse_initializer)


def _require_plain_name(path: Path) -> None:
    try:
        require_inner_name(path.name)
        path.name.encode()
    except ValueError:
        raise UsageError(f"{shown(path.name)} can't be kept as a file name", hint="rename the file") from None


def _stored_file(name: str, path: Path) -> StoredFile:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return StoredFile(name, size, sha256_of_range(file, 0, size))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever the file does; None where there is none, which opening it will say better."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
