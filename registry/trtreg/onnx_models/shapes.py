"""Requested input shapes, written into the model."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto, ModelProto, TensorShapeProto, ValueInfoProto

from trtreg.core.recipe import ShapeRange
from trtreg.errors import UsageError
from trtreg.onnx_models.walking import parts

_UNKNOWN = "?"


def fix_shapes(model: ModelProto, profiles: Sequence[ShapeRange]) -> tuple[str, ...]:
    """Set the inputs that `profiles` gives one shape to it, in place; notes of what was done.

    A symbolic dimension takes its size everywhere it stands in the model's inputs and outputs. Shapes noted for
    values inside are dropped, since they may be those of another size. An input with a range or with
    several shapes stays dynamic.

    Raises UsageError, with the input's real shape, for a profile that doesn't fit the model.
    """
    constants = {t.name for t in model.graph.initializer}
    inputs = {i.name: i for i in model.graph.input if i.name not in constants}
    sizes: dict[str, int] = {}
    notes = []
    for profile in profiles:
        value = _fitting_input(profile, inputs)
        alone = all(other.input != profile.input or other == profile for other in profiles)
        if profile.is_fixed and alone and _fix_input(value, profile, sizes):
            notes.append(f"input shape fixed: {profile}")
    if notes:
        for value in (*model.graph.input, *model.graph.output):
            _substitute(value, sizes)
        for graph in parts(model, GraphProto):
            del graph.value_info[:]
    return tuple(notes)


def _fitting_input(profile: ShapeRange, inputs: dict[str, ValueInfoProto]) -> ValueInfoProto:
    value = inputs.get(profile.input)
    if value is None:
        raise UsageError(
            f"no input is called {profile.input!r}",
            hint=f"the model takes {', '.join(map(_described, inputs.values())) or 'no inputs'}",
        )
    if not value.type.tensor_type.HasField("shape"):
        return value
    dimensions = value.type.tensor_type.shape.dim
    if len(dimensions) != len(profile.optimum):
        raise UsageError(
            f"{profile} has {len(profile.optimum)} dimensions, the input has {len(dimensions)}",
            hint=f"the model takes {_described(value)}",
        )
    for low, high, dimension in zip(profile.minimum, profile.maximum, dimensions, strict=True):
        if dimension.HasField("dim_value") and not low == high == dimension.dim_value:
            raise UsageError(f"{profile} contradicts the model", hint=f"the model takes {_described(value)}")
    return value


def _fix_input(value: ValueInfoProto, profile: ShapeRange, sizes: dict[str, int]) -> bool:
    """Write the sizes into the input and note what its symbols became; whether anything changed."""
    before = value.SerializeToString(deterministic=True)
    dimensions = value.type.tensor_type.shape.dim
    while len(dimensions) < len(profile.optimum):
        dimensions.add()
    value.type.tensor_type.shape.SetInParent()
    for dimension, size in zip(dimensions, profile.optimum, strict=True):
        symbol = dimension.dim_param
        if symbol and sizes.setdefault(symbol, size) != size:
            raise UsageError(
                f"{profile} makes {symbol!r} {size}, but it is {sizes[symbol]} by another input's shape",
                hint=f"the model takes {_described(value)}",
            )
        dimension.dim_value = size
    return bool(value.SerializeToString(deterministic=True) != before)


def _substitute(value: ValueInfoProto, sizes: dict[str, int]) -> None:
    for dimension in value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ():
        if dimension.dim_param in sizes:
            dimension.dim_value = sizes[dimension.dim_param]


def _described(value: ValueInfoProto) -> str:
    if not value.type.tensor_type.HasField("shape"):
        return f"{value.name}=(any shape)"
    return f"{value.name}={'x'.join(map(_dimension, value.type.tensor_type.shape.dim)) or 'scalar'}"


def _dimension(dimension: TensorShapeProto.Dimension) -> str:
    return str(dimension.dim_value) if dimension.HasField("dim_value") else dimension.dim_param or _UNKNOWN
