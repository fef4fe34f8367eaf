"""A model whose inner values are outputs, so that they can be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx import ModelProto, ValueInfoProto, external_data_helper

from trtreg.onnx_models.graph_check import sort_nodes
from trtreg.onnx_models.reading import open_model
from trtreg.onnx_models.selection import name_nodes
from trtreg.onnx_models.writing import write_model


def read_nodes(model: Path) -> list[tuple[str, str, tuple[str, ...]]]:
    """Name, operator and results of each node of the main graph, in the order in which they compute; constants are
    left out. The names are those that a recipe may keep in fp32."""
    proto = open_model(model)
    sort_nodes(proto)
    name_nodes(proto)
    nodes = (n for n in proto.graph.node if n.op_type != "Constant")
    return [(n.name, n.op_type, tuple(filter(None, n.output))) for n in nodes]


def write_exposed(model: Path, values: Sequence[str], path: Path) -> dict[str, str]:
    """Write `model` to `path` with those of `values` that it computes as outputs; what each is called there.

    In a quantized model a value is shown as its readers see it, through its 8 bits.
    """
    proto = _whole(model)
    made = {name for node in proto.graph.node for name in node.output if name}
    quantized = _dequantized(proto)
    names = {value: quantized.get(value, value) for value in values if value in made}
    outputs = {output.name for output in proto.graph.output}
    proto.graph.output.extend(ValueInfoProto(name=n) for n in dict.fromkeys(names.values()) if n not in outputs)
    write_model(proto, path)
    return names


def _whole(path: Path) -> ModelProto:
    model = open_model(path)
    sort_nodes(model)
    external_data_helper.load_external_data_for_model(model, str(path.parent))
    return model


def _dequantized(model: ModelProto) -> dict[str, str]:
    """Of each value that is quantized, what comes back."""
    back = {n.input[0]: n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    pairs = ((n.input[0], n.output[0]) for n in model.graph.node if n.op_type == "QuantizeLinear")
    return {value: back[code] for value, code in pairs if code in back}
