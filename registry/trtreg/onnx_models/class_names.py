"""What a model calls its classes, as exporters of detectors write it into the file: `names`, {0: 'person', …}."""

from __future__ import annotations

import ast
from pathlib import Path

from trtreg.onnx_models.reading import skim_model

_LONGEST = 1 << 20


def class_names(model: Path) -> dict[str, str]:
    """By the class's number, as a decimal; empty where the model says nothing, or nothing that can be read."""
    text = next((prop.value for prop in skim_model(model).metadata_props if prop.key == "names"), "")
    if not text or len(text) > _LONGEST:
        return {}
    try:
        said = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {}
    if isinstance(said, list | tuple):
        said = dict(enumerate(said))
    if not isinstance(said, dict):
        return {}
    return {str(kind): str(name) for kind, name in said.items() if isinstance(kind, int) and isinstance(name, str)}
