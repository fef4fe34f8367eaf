"""int8 and fp8 by QuantizeLinear/DequantizeLinear pairs, with ranges measured on real inputs."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, NodeProto

from trtreg.core.recipe import Precision
from trtreg.errors import BuildFailed, UsageError
from trtreg.onnx_models.float8 import make_fp8
from trtreg.onnx_models.opsets import raise_ir_version, raise_opset
from trtreg.onnx_models.ranges import Case, measure_ranges
from trtreg.onnx_models.walking import parts
from trtreg.onnx_models.writing import write_model

_LEAST_OPSET = {Precision.INT8: 13, Precision.FP8: 19}
"""The first in which a scale per channel can be written, and the first with fp8."""
_PRODUCTS = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
"""What TensorRT gets its inputs quantized of: it spreads int8 from there, and refuses it elsewhere."""


def quantize(
    model: ModelProto,
    *,
    precision: Precision,
    runtime: str,
    keep: Set[str],
    calibration: Sequence[Case],
    folder: Path,
) -> tuple[ModelProto, tuple[str, ...]]:
    """`model` with its tensors in int8 or fp8 and the notes of it; `model` itself is used up.

    runtime      `onnxruntime` gets unsigned activations with a zero point and int32 biases, which its CPU kernels
                 fuse; TensorRT takes neither, so that the others get symmetric int8 and float biases. Only these
                 take fp8
    keep         names of nodes that stay in fp32
    calibration  the inputs of each run that ranges are measured on, by input name
    folder       takes temporary files, which are gone afterwards

    Raises UsageError for cases that don't fit the inputs and for fp8 on ONNX Runtime, BuildFailed where nothing can
    be quantized.
    """
    _check_runtime(precision, runtime)
    _check_cases(model, calibration)
    notes = [raise_opset(model, _LEAST_OPSET[precision])]
    raise_ir_version(model)
    with tempfile.TemporaryDirectory(prefix="quantize-", dir=folder) as scratch:
        source, result = Path(scratch, "source.onnx"), Path(scratch, "quantized.onnx")
        _mark_as_prepared(model)
        external = write_model(model, source)
        _quantize_file(source, result, precision, runtime, keep, calibration, external)
        quantized = onnx.load(result)
    pairs = sum(n.op_type == "QuantizeLinear" for n in parts(quantized, NodeProto))
    if not pairs:
        raise BuildFailed(
            f"nothing in the model can be quantized to {precision}",
            hint="its operators lie inside control flow, take no floats, or all stay in fp32; build it as fp16",
        )
    if precision is Precision.FP8:
        make_fp8(quantized)
    notes.append(f"quantized to {precision} for {runtime}: {pairs} tensors, ranges from {len(calibration)} runs")
    notes += [f"{len(keep)} nodes stay in fp32"] if keep else []
    return quantized, tuple(filter(None, notes))


def _check_runtime(precision: Precision, runtime: str) -> None:
    if precision is Precision.FP8 and runtime == "onnxruntime":
        raise UsageError(
            "ONNX Runtime has no arithmetic in fp8: it would convert each value there and back, and compute in fp32",
            hint="ask for int8 or fp32, or for a target with TensorRT",
        )


def _check_cases(model: ModelProto, calibration: Sequence[Case]) -> None:
    constants = {t.name for t in model.graph.initializer}
    wanted = {i.name for i in model.graph.input} - constants
    if not calibration:
        raise UsageError("the calibration sample has no cases", hint="give at least one run's inputs")
    for number, case in enumerate(calibration):
        if set(case) != wanted:
            raise UsageError(
                f"case {number} of the calibration sample gives {_listed(case)}",
                hint=f"each case gives the model's inputs: {_listed(wanted)}",
            )


def _listed(names: Set[str] | Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _mark_as_prepared(model: ModelProto) -> None:
    """Without this mark ONNX Runtime advises on the root logger to run its own simplifier, which renames nodes that
    a recipe may keep in fp32."""
    del model.metadata_props[:]
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")


def _quantize_file(
    source: Path,
    result: Path,
    precision: Precision,
    runtime: str,
    keep: Set[str],
    calibration: Sequence[Case],
    external: bool,
) -> None:
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import QuantType, load_model_with_shape_infer
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    for_cpu, for_fp8 = runtime == "onnxruntime", precision is Precision.FP8
    operators = sorted({*QDQRegistry, *QLinearOpsRegistry}) if for_cpu else _PRODUCTS
    make_quantizer: Any = QDQQuantizer
    with _quiet():
        try:
            quantizer = make_quantizer(
                load_model_with_shape_infer(source),
                per_channel=not for_fp8,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8 if for_cpu else QuantType.QInt8,
                tensors_range=measure_ranges(source, operators, calibration, source.parent, external=external),
                nodes_to_quantize=[],
                nodes_to_exclude=sorted(keep),
                op_types_to_quantize=operators,
                extra_options={
                    "ActivationSymmetric": not for_cpu,
                    "WeightSymmetric": True,
                    "QuantizeBias": for_cpu,
                    # fp8 is written over the pairs; weights that are int8 already would be rounded twice.
                    "AddQDQPairToWeight": for_fp8,
                    "OpTypesToExcludeOutputQuantization": [] if for_cpu else _PRODUCTS,
                },
            )
            quantizer.quantize_model()
            quantizer.model.save_model_to_file(result, external)
        except Exception as error:  # noqa: BLE001 - the library raises bare ones, also from its sessions
            first = (str(error).splitlines() or [""])[0]
            raise BuildFailed(
                f"{precision} quantization failed: {type(error).__name__}: {first}",
                hint="name what can't be quantized with --keep-fp32, or build it as fp16",
            ) from None


_WARNING, _FATAL = 2, 4


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let the library print and log nothing. ONNX Runtime doesn't tell its severity: it becomes what it is at first."""
    import onnxruntime

    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    onnxruntime.set_default_logger_severity(_FATAL)  # type: ignore[attr-defined]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)  # type: ignore[attr-defined]
        logging.disable(disabled)
