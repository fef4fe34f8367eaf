"""Stand-ins for a fine-tune."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from trtreg.onnx_models.graph_digest import weights


def write_fine_tune(model: Path, path: Path, *, seed: int = 0, by: float = 0.01) -> Path:
    """`model` with each of its weights changed by about that share of it."""
    draw, tuned = np.random.default_rng(seed), onnx.load(model)
    changed = weights(tuned)
    for tensor in tuned.graph.initializer:
        if tensor.name in changed:
            values = numpy_helper.to_array(tensor)
            noise = 1 + by * draw.standard_normal(values.shape)
            tensor.CopyFrom(numpy_helper.from_array((values * noise).astype(values.dtype), tensor.name))
    onnx.save(tuned, path)
    return path
