"""Precision is a rewrite of the ONNX model, the same for every runtime that then builds it as it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto, NodeProto, external_data_helper, inliner

from trtreg.core.recipe import Precision, Recipe
from trtreg.errors import BuildFailed, UsageError
from trtreg.onnx_models.arithmetic import arithmetic_of
from trtreg.onnx_models.conversion import convert
from trtreg.onnx_models.graph_check import sort_nodes
from trtreg.onnx_models.half import BF16, FP16
from trtreg.onnx_models.opsets import raise_opset
from trtreg.onnx_models.quantization import quantize
from trtreg.onnx_models.ranges import Case
from trtreg.onnx_models.reading import open_model
from trtreg.onnx_models.selection import name_nodes, select_nodes
from trtreg.onnx_models.shapes import fix_shapes
from trtreg.onnx_models.variances import variance_nodes
from trtreg.onnx_models.walking import parts
from trtreg.onnx_models.writing import write_model

_QDQ_OPSET = 19
"""The first in which DequantizeLinear gives 16 bits; before it, a cast would part it from the operator it feeds."""
_BF16_OPSET = 22
"""The first in which Conv and most others take bfloat16."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The model to build. `notes` say in words what was done to the one that came in."""

    path: Path
    notes: tuple[str, ...]


def rewrite(
    *,
    model: Path,
    recipe: Recipe,
    runtime: str,
    folder: Path,
    calibration: Sequence[Case] | None,
) -> Rewritten:
    """Rewrite the examined `model` as `recipe` says. The same model and recipe give the same bytes.

    runtime      what will build it: `onnxruntime`, `tensorrt` or `tensorrt-rtx`; int8 differs between them, and
                 fp8 is for the latter two
    folder       takes the rewritten model and its external weights; `model` itself is never written to
    calibration  for int8 and fp8: the inputs of each run, by input name

    The path is `model` itself where nothing had to change. Raises UsageError for a recipe that doesn't fit the
    model, BuildFailed where a library can't do what it asks.
    """
    proto = _read(model)
    fixed = fix_shapes(proto, recipe.profiles)
    name_nodes(proto)
    keep = select_nodes(proto, recipe.keep_fp32)
    if reason := _kept_reason(proto, recipe.precision):
        notes, changed = [reason], bool(fixed)
    elif recipe.precision is Precision.FP32:
        notes, changed = [], bool(fixed)
    else:
        proto, notes = _converted(proto, recipe, runtime, keep, calibration, folder)
        changed = True
    path = folder / "model.onnx" if changed else model
    if changed:
        write_model(proto, path)
    return Rewritten(path, (*fixed, *notes))


def _read(path: Path) -> ModelProto:
    model = open_model(path)
    sort_nodes(model)
    external_data_helper.load_external_data_for_model(model, str(path.parent))
    return model


def _is_quantized(model: ModelProto) -> bool:
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in parts(model, NodeProto))


def _kept_reason(model: ModelProto, wanted: Precision) -> str:
    present = arithmetic_of(model)
    quantized = present == "int8" or _is_quantized(model)
    if quantized and wanted in (Precision.INT8, Precision.FP8):
        return "the model is already quantized: kept as it is"
    if present == wanted:
        return "" if present == "fp32" else f"the model is already {present}: kept as it is"
    if present in ("fp16", "bf16") and wanted.is_calibrated:
        raise BuildFailed(
            f"the model is already {present}, and {wanted} is made from fp32",
            hint="register the fp32 model that it was made from",
        )
    if present in ("fp16", "bf16") or (quantized and wanted is Precision.FP32):
        lost = "quantized" if quantized else present
        return f"the model is already {lost}, and {wanted} can't bring back what that lost: kept as it is"
    return ""


def _converted(
    model: ModelProto,
    recipe: Recipe,
    runtime: str,
    keep: frozenset[str],
    calibration: Sequence[Case] | None,
    folder: Path,
) -> tuple[ModelProto, list[str]]:
    if recipe.precision in (Precision.FP16, Precision.BF16):
        return _halved(model, recipe, keep)
    if calibration is None:
        raise UsageError(
            f"{recipe.precision} needs a calibration sample", hint="name one of the model's samples with --calibration"
        )
    quantized, notes = quantize(
        model, precision=recipe.precision, runtime=runtime, keep=keep, calibration=calibration, folder=folder
    )
    return quantized, list(notes)


def _halved(model: ModelProto, recipe: Recipe, keep: frozenset[str]) -> tuple[ModelProto, list[str]]:
    target = FP16 if recipe.precision is Precision.FP16 else BF16
    quantized = _is_quantized(model)
    notes = ["the model is quantized: only what is still float was converted"] if quantized else []
    if model.functions:
        model = inliner.inline_local_functions(model)
    least = _BF16_OPSET if target is BF16 else _QDQ_OPSET if quantized else 0
    notes += filter(None, [raise_opset(model, least)])
    # Inlined functions and a raised opset bring nodes without names.
    name_nodes(model)
    variances = variance_nodes(model) - keep
    notes += convert(model, target, keep=keep | variances, keep_io_types=recipe.keep_io_types)
    notes += [f"kept in fp32: {len(variances)} nodes that compute variances or norms"] if variances else []
    return model, notes
