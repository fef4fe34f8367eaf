"""Calling ONNX's own tools, which take at most 2 GiB, on models of any size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from onnx import ModelProto, TensorProto, helper, shape_inference, version_converter

from trtreg.errors import BuildFailed, UnusableModel
from trtreg.onnx_models.graphs import default_opset
from trtreg.onnx_models.tensors import element_count

_LARGE = 4096
"""Elements. Larger initializers are weights; the tools look into smaller ones (shapes, axes, indices)."""


def raise_opset(model: ModelProto, least: int) -> str:
    """Bring `model` to opset `least` unless it is there; a note of what was done, or nothing.

    Raises BuildFailed where ONNX's converter knows no way.
    """
    found = default_opset(model)
    if found >= least or not found:
        return ""
    try:
        _without_weights(model, lambda light: version_converter.convert_version(light, least))
    except (RuntimeError, version_converter.ConvertError, shape_inference.InferenceError) as error:
        raise BuildFailed(
            f"the opset can't be raised from {found} to {least}: {str(error).splitlines()[0]}",
            hint=f"export the model again with opset {least} or later",
        ) from None
    raise_ir_version(model)
    return f"opset raised from {found} to {least}"


def raise_ir_version(model: ModelProto) -> None:
    """Raise the file format's version to what the opsets need, and let initializers stand alone: inputs that only
    give a default for an initializer go."""
    model.ir_version = max(model.ir_version, 4, helper.find_min_ir_version_for(model.opset_import, True))
    constants = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)


def infer_types(model: ModelProto, *, values: bool = False) -> None:
    """Write the types of all values into `model`; with `values`, what is computed from shapes is followed, too.
    Raises UnusableModel."""
    try:
        _without_weights(model, partial(shape_inference.infer_shapes, data_prop=values))
    except (RuntimeError, shape_inference.InferenceError) as error:
        raise UnusableModel(f"its types can't be inferred: {str(error).splitlines()[0]}") from None


def _without_weights(model: ModelProto, tool: Callable[[ModelProto], ModelProto]) -> None:
    """Replace `model` by what `tool` makes of it while its large initializers stand in as inputs."""
    raise_ir_version(model)
    order = [t.name for t in model.graph.initializer]
    inputs = len(model.graph.input)
    weights = _take_large(model)
    model.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in weights)
    try:
        result = tool(model)
        model.CopyFrom(result)
    finally:
        del model.graph.input[inputs:]
        constants = {t.name: t for t in [*model.graph.initializer, *weights]}
        del model.graph.initializer[:]
        model.graph.initializer.extend(constants.pop(name) for name in order if name in constants)
        model.graph.initializer.extend(constants.values())


def _take_large(model: ModelProto) -> list[TensorProto]:
    tensors = list(model.graph.initializer)
    del model.graph.initializer[:]
    model.graph.initializer.extend(t for t in tensors if element_count(t.dims) <= _LARGE)
    return [t for t in tensors if element_count(t.dims) > _LARGE]
