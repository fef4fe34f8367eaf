"""Queues, and requests as text."""

from __future__ import annotations

from dataclasses import fields, replace

from trtreg.core.build import gate_queue_of, queue_of
from trtreg.core.builder_settings import BuilderSettings
from trtreg.core.names import parse_model_name
from trtreg.core.recipe import Precision, parse_shape
from trtreg.core.records import from_json, to_json
from trtreg.core.request import Request
from trtreg.core.target import Target


def test_a_queue_is_named_by_all_that_binds_a_plan() -> None:
    gpu = Target(
        runtime="tensorrt",
        runtime_version="10.13.3.9",
        architecture="sm_89",
        platform="linux-x86_64",
        device="NVIDIA L4",
    )
    cpu = Target(
        runtime="onnxruntime", runtime_version="1.32.0", architecture="x86_64", platform="linux-x86_64", layout="9c1e"
    )
    several = Target(
        runtime="tensorrt-rtx", runtime_version="1.7", architecture="sm_86,sm_89", platform="linux-x86_64", cuda="12.9"
    )
    assert queue_of(gpu) == "trtreg.tensorrt-10.13.3.9.sm_89.linux-x86_64.nvidia-l4"
    assert queue_of(cpu) == "trtreg.onnxruntime-1.32.0.x86_64.linux-x86_64.9c1e"
    assert queue_of(several) == "trtreg.tensorrt-rtx-1.7-cu12.9.sm_86+sm_89.linux-x86_64"
    assert gate_queue_of(cpu) == "trtreg.gate.onnxruntime-1.32.0.x86_64.linux-x86_64.9c1e"
    others = [replace(gpu, **{field.name: "another"}) for field in fields(Target)]
    assert len({name(target) for target in (gpu, *others) for name in (queue_of, gate_queue_of)}) == 2 * len(
        [gpu, *others]
    )


def test_a_request_comes_back_from_its_text() -> None:
    request = Request(
        model=parse_model_name("yolov5s@3"),
        precision=Precision.INT8,
        shapes=(parse_shape("images=1x3x64x64:2x3x64x64:4x3x64x64"),),
        keep_fp32=("MatMul",),
        calibration="coco",
        builder=BuilderSettings(tf32=False),
        target="sm_86,sm_89",
    )
    assert from_json(Request, to_json(request)) == request
