"""Writing an ONNX model, whatever its size."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto
from onnx.external_data_helper import convert_model_to_external_data

from trtreg.onnx_models.walking import parts

EXTERNAL_ABOVE = 1 << 30
"""Bytes of constants. Protocol buffers end at 2 GiB, and ONNX's own tools copy what is inside the file."""


def write_model(model: ModelProto, path: Path, *, external_above: int = EXTERNAL_ABOVE) -> bool:
    """Write `model` to `path`, the same bytes each time; whether its weights went into `PATH.data` beside it.

    The model is used up: its tensors may point to the file afterwards.
    """
    external = sum(map(_stored_bytes, parts(model, TensorProto))) > external_above
    if external:
        convert_model_to_external_data(model, location=f"{path.name}.data", size_threshold=1024)
        Path(path.parent, f"{path.name}.data").unlink(missing_ok=True)
        onnx.save(model, path)
    else:
        path.write_bytes(model.SerializeToString(deterministic=True))
    return external


def _stored_bytes(tensor: TensorProto) -> int:
    typed = len(tensor.float_data) + len(tensor.int32_data)
    return len(tensor.raw_data) + 4 * typed + 8 * (len(tensor.int64_data) + len(tensor.double_data))
