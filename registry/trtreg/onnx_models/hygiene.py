"""The steps that make an ONNX model ready for the registry: each from one file into another."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto, external_data_helper

from trtreg.core.lineage import Step
from trtreg.core.preparation import Preparation
from trtreg.core.recipe import ShapeRange
from trtreg.onnx_models.examine import signature_of
from trtreg.onnx_models.extraction import extract
from trtreg.onnx_models.graph_check import sort_nodes
from trtreg.onnx_models.naming import rename_values
from trtreg.onnx_models.opsets import infer_types
from trtreg.onnx_models.reading import open_model
from trtreg.onnx_models.shapes import fix_shapes
from trtreg.onnx_models.simplifying import library_versions, simplify
from trtreg.onnx_models.writing import write_model


def steps_of(preparation: Preparation) -> tuple[str, ...]:
    """The names of the steps that change a graph, in the order in which they are done."""
    wanted = {
        "extract": bool(preparation.extract),
        "rename": bool(preparation.rename),
        "fix-shape": bool(preparation.shapes),
        "simplify": preparation.simplify,
    }
    return tuple(name for name, is_wanted in wanted.items() if is_wanted)


def perform_step(name: str, source: Path, result: Path, preparation: Preparation) -> Step:
    """Do the step `name` to the examined model `source` and write what comes of it to `result`, its weights beside it
    where they are large. The same file gives the same bytes. Raises UsageError, UnusableModel."""
    model = open_model(source)
    sort_nodes(model)
    external_data_helper.load_external_data_for_model(model, str(source.parent))
    versions = {"onnx": onnx.__version__}
    parameters: dict[str, str] = {}
    match name:
        case "extract":
            parameters["section"] = preparation.extract
            notes = extract(model, preparation.extract)
        case "rename":
            parameters |= rename_values(model, preparation.rename)
            notes = ()
        case "fix-shape":
            parameters |= {s.input: "x".join(map(str, s.optimum)) or "scalar" for s in preparation.shapes}
            notes = _fix(model, preparation.shapes)
        case _:
            versions |= library_versions()
            model, notes = simplify(model)
    write_model(model, result)
    # What a library made of a stranger's file is as strange: it is read like one.
    open_model(result)
    return Step(name=name, parameters=parameters, versions=versions, notes=notes)


def _fix(model: ModelProto, shapes: tuple[ShapeRange, ...]) -> tuple[str, ...]:
    """Give inputs their one shape, and everything behind them what follows from it."""
    if not fix_shapes(model, shapes):
        return ("the inputs had these shapes already",)
    infer_types(model, values=True)
    still = [str(spec) for spec in signature_of(model).outputs if any(isinstance(d, str) for d in spec.dimensions)]
    return (f"still open, by the data or by what ONNX can't infer: {', '.join(still)}",) if still else ()
