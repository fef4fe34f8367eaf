"""A model's graph as boxes and arrows: constants folded into what takes them, groups by names where it is large."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, numpy_helper

from trtreg.core.outline import Box, BoxKind, Outline
from trtreg.core.signature import Signature, TensorSpec
from trtreg.errors import UnusableModel
from trtreg.onnx_models.examine import signature_of
from trtreg.onnx_models.graph_check import reads, sort_nodes
from trtreg.onnx_models.graphs import subgraphs
from trtreg.onnx_models.grouping import grouped
from trtreg.onnx_models.opsets import infer_types
from trtreg.onnx_models.reading import skim_model
from trtreg.onnx_models.tensors import element_count, is_external
from trtreg.onnx_models.wording import printable

_MOST_LINES = 3
_MOST_VALUES = 4
"""Of a constant that is shown by its values."""
_LONGEST = 34
"""Characters of a line."""

_KINDS: Mapping[BoxKind, str] = {
    BoxKind.PRODUCT: """Conv ConvInteger ConvTranspose Gemm MatMul MatMulInteger Einsum Attention LSTM GRU RNN
        QLinearConv QLinearMatMul""",
    BoxKind.ACTIVATION: """Relu LeakyRelu PRelu Sigmoid HardSigmoid HardSwish Swish Mish Tanh Gelu Elu Selu Softmax
        LogSoftmax Softplus Softsign Clip Erf Celu ThresholdedRelu""",
    BoxKind.POOLING: """MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool ReduceMean ReduceMax ReduceSum
        ReduceMin BatchNormalization LayerNormalization InstanceNormalization GroupNormalization LRN""",
    BoxKind.SHAPING: """Reshape Transpose Concat Split Slice Gather GatherND GatherElements Squeeze Unsqueeze Flatten
        Expand Shape Resize Upsample Pad Tile Cast Identity DepthToSpace SpaceToDepth ConstantOfShape Range
        ScatterND""",
    BoxKind.QUANTIZING: "QuantizeLinear DequantizeLinear DynamicQuantizeLinear",
    BoxKind.CONTROL: "If Loop Scan SequenceMap",
}
_KIND_OF = {operator: kind for kind, operators in _KINDS.items() for operator in operators.split()}


def outline(path: Path) -> Outline:
    """The graph of the ONNX model in the file `path`. Its weights aren't read. Raises NotFound, UsageError,
    UnusableModel."""
    model = skim_model(path)
    sort_nodes(model)
    signature = signature_of(model)
    with suppress(UnusableModel):  # Of operators that ONNX doesn't know the boxes say less.
        infer_types(model, values=True)
    return _Drawer(model, signature).outline()


class _Drawer:
    def __init__(self, model: ModelProto, signature: Signature) -> None:
        self._graph, self._signature = model.graph, signature
        self._shapes = {v.name: _shape(v.type.tensor_type) for v in self._graph.value_info if _has_shape(v)}
        self._constants = {t.name: t for t in self._graph.initializer}
        self._nodes = [node for node in self._graph.node if not self._fold(node)]

    def outline(self) -> Outline:
        """Inputs first, then the nodes in their order, then the outputs."""
        inputs = [
            Box(kind=BoxKind.INPUT, title=_short(s.name), gives=(_spec(s),), name=printable(s.name))
            for s in self._signature.inputs
        ]
        outputs = [
            Box(kind=BoxKind.OUTPUT, title=_short(s.name), lines=(_spec(s),), name=printable(s.name))
            for s in self._signature.outputs
        ]
        maker = {s.name: place for place, s in enumerate(self._signature.inputs)}
        for place, node in enumerate(self._nodes, len(inputs)):
            maker |= {name: place for name in node.output if name}
        arrows: dict[tuple[int, int], None] = {}
        for place, node in enumerate(self._nodes, len(inputs)):
            arrows |= {(maker[name], place): None for name in sorted(reads(node)) if name in maker}
        last = len(inputs) + len(self._nodes)
        arrows |= {(maker[s.name], last + i): None for i, s in enumerate(self._signature.outputs) if s.name in maker}
        boxes = (*inputs, *map(self._box, self._nodes), *outputs)
        return grouped(Outline(boxes=boxes, arrows=tuple(sorted(arrows))))

    def _fold(self, node: NodeProto) -> bool:
        """Whether it only makes a constant, which its reader then shows."""
        if node.op_type != "Constant" or len(node.output) != 1:
            return False
        found = [a.t for a in node.attribute if a.name == "value"]
        if found:
            self._constants[node.output[0]] = found[0]
        return bool(found)

    def _box(self, node: NodeProto) -> Box:
        lines = [_constant(name, self._constants[name]) for name in node.input if name in self._constants]
        lines += [f"{len(inner.node)} nodes: {_most(n.op_type for n in inner.node)}" for inner in subgraphs(node)]
        if len(lines) > _MOST_LINES:
            lines = [*lines[: _MOST_LINES - 1], f"… {len(lines) - _MOST_LINES + 1} more"]
        gives = [self._shapes[name] for name in node.output if name in self._shapes]
        return Box(
            kind=_KIND_OF.get(node.op_type, BoxKind.OTHER),
            title=_short(node.op_type),
            lines=tuple(_short(line) for line in lines),
            gives=tuple(map(_short, gives[:_MOST_LINES])),
            name=printable(node.name),
        )


def _has_shape(value: ValueInfoProto) -> bool:
    return bool(value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"))


def _shape(tensor: TypeProto.Tensor) -> str:
    dimensions = tensor.shape.dim
    return _times([str(d.dim_value) if d.HasField("dim_value") else _symbol(d.dim_param) for d in dimensions])


def _symbol(name: str) -> str:
    # `unk__0` is what ONNX's inference calls a size that it can't tell.
    return "?" if not name or name.startswith("unk__") else printable(name)


def _times(dimensions: Sequence[str]) -> str:
    return "×".join(dimensions) or "scalar"


def _spec(spec: TensorSpec) -> str:
    return _short(f"{spec.dtype}[{_times([str(d) for d in spec.dimensions])}]" if spec.dimensions else spec.dtype)


def _constant(name: str, tensor: TensorProto) -> str:
    label = printable(name).replace("/", ".").rpartition(".")[2]
    if element_count(tensor.dims) > _MOST_VALUES or is_external(tensor):
        return f"{label} {_times([str(d) for d in tensor.dims])}"
    values = numpy_helper.to_array(tensor).ravel().tolist()
    words = ", ".join(f"{v:g}" if isinstance(v, float) else printable(v, 12) for v in values)
    return words if tensor.dims and len(values) == 1 else f"({words})" if len(values) != 1 else words


def _most(operators: Iterable[str]) -> str:
    counted = Counter(map(printable, operators)).most_common(_MOST_LINES)
    return ", ".join(f"{count} {name}" if count > 1 else name for name, count in counted)


def _short(text: str) -> str:
    return printable(text, _LONGEST)
