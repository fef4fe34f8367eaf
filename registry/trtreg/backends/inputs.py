"""Inputs against a signature: checked before a runtime sees them, so that a refusal speaks of the caller's mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtreg.core.signature import Signature, TensorSpec
from trtreg.errors import UsageError

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor


def checked_inputs(inputs: Mapping[str, Tensor], signature: Signature) -> dict[str, Tensor]:
    """`inputs` as contiguous arrays, in the signature's order. Raises UsageError with what the plan takes."""
    import numpy as np

    names = [spec.name for spec in signature.inputs]
    if absent := [name for name in names if name not in inputs]:
        raise _refusal(f"no value for the input {', '.join(absent)}", signature)
    if unknown := sorted(set(inputs) - set(names)):
        raise _refusal(f"the plan has no input {', '.join(map(str, unknown))}", signature)
    arrays = {spec.name: np.asarray(inputs[spec.name], order="C") for spec in signature.inputs}
    for spec in signature.inputs:
        array = arrays[spec.name]
        if not (_has_dtype(array, spec) and _has_shape(array, spec)):
            given = TensorSpec(spec.name, _dtype_name(array), array.shape)
            raise _refusal(f"the plan takes {spec}, and was given {given}", signature)
    return arrays


def _refusal(message: str, signature: Signature) -> UsageError:
    taken = "; ".join(map(str, signature.inputs)) or "no inputs"
    return UsageError(message, hint=f"it takes {taken}")


def _has_dtype(array: Tensor, spec: TensorSpec) -> bool:
    return _dtype_name(array) == spec.dtype


def _dtype_name(array: Tensor) -> str:
    return "string" if array.dtype.kind in "OSU" else array.dtype.name


def _has_shape(array: Tensor, spec: TensorSpec) -> bool:
    return len(array.shape) == len(spec.dimensions) and all(
        isinstance(wanted, str) or wanted == size for wanted, size in zip(spec.dimensions, array.shape, strict=True)
    )
