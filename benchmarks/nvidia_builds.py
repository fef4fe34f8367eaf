"""What TensorRT-RTX takes to build a model, by precision and by number of architectures, and how large the plans are.

    python benchmarks/nvidia_builds.py [MODEL.onnx] [--rounds N]

Seconds are the least of N builds in this process, which need no GPU; the precision's rewriting isn't counted. The last
line sets the backend's build against the same calls to TensorRT-RTX made by hand, in processor time, taking turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from machine import described

from trtreg.backends.tensorrt import TensorRT
from trtreg.backends.tensorrt_api import PRODUCTS, TENSORRT_RTX, product_module
from trtreg.backends.tensorrt_log import recording
from trtreg.core.builder_settings import DEFAULT_WORKSPACE
from trtreg.core.recipe import Precision, Recipe
from trtreg.core.target import Target
from trtreg.onnx_models.precision import rewrite

DEFAULT_MODEL = Path(os.environ.get("TRTREG_TEST_DATA", "../shared/data")) / "models" / "yolov5s.onnx"
ARCHITECTURES = ("sm_89", "sm_86,sm_89,sm_120", "sm_75,sm_80,sm_86,sm_89,sm_120")


def recipe_of(precision: Precision) -> Recipe:
    return Recipe(precision=precision, calibration="0" * 64 if precision.is_calibrated else "")


def random_case(model: Path) -> dict[str, Any]:
    """One run's inputs of a model with static float inputs, good enough to measure time and size."""
    random = np.random.default_rng(0)
    return {
        i.name: random.random([d.dim_value for d in i.type.tensor_type.shape.dim], dtype=np.float32)
        for i in onnx.load(model, load_external_data=False).graph.input
    }


def build(trt: Any, model: Path, recipe: Recipe, architecture: str) -> int:
    """The plan's bytes."""
    target = Target(
        runtime=TENSORRT_RTX, runtime_version=trt.__version__, architecture=architecture, platform="linux-x86_64"
    )
    with TemporaryDirectory() as folder:
        entry = TensorRT(TENSORRT_RTX).build(model, recipe, target, Path(folder))
        return Path(folder, entry).stat().st_size


def build_by_hand(trt: Any, model: Path) -> None:
    with recording(trt) as (logger, _), TemporaryDirectory() as folder:
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, logger)
        parser.parse_from_file(str(model))
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, DEFAULT_WORKSPACE)
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM89, 0)
        with Path(folder, "plan").open("wb") as stream:
            stream.write(builder.build_serialized_network(network, config))


def least(call: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def overhead(trt: Any, model: Path, rounds: int) -> tuple[float, float]:
    """Processor seconds by hand and by the backend: medians."""
    hand, ours = [], []
    for _ in range(rounds):
        for times, call in (
            (hand, lambda: build_by_hand(trt, model)),
            (ours, lambda: build(trt, model, Recipe(), "sm_89")),
        ):
            started = time.process_time()
            call()
            times.append(time.process_time() - started)
    return statistics.median(hand), statistics.median(ours)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", nargs="?", type=Path, default=DEFAULT_MODEL)
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    trt = product_module(PRODUCTS[TENSORRT_RTX])
    print(described(("trtreg", "tensorrt-rtx-cu12", "onnx")))
    print(f"{chosen.model.name}, least of {chosen.rounds} rounds")
    print("| precision | architectures | seconds | plan, bytes |\n| --- | --- | --- | --- |")
    for precision in (Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8):
        with TemporaryDirectory() as folder:
            recipe = recipe_of(precision)
            cases = [random_case(chosen.model)] if precision.is_calibrated else None
            model = rewrite(
                model=chosen.model, recipe=recipe, runtime=TENSORRT_RTX, folder=Path(folder), calibration=cases
            ).path
            for architecture in ARCHITECTURES:
                if precision is Precision.BF16 and "sm_75" in architecture:
                    continue
                size = build(trt, model, recipe, architecture)
                seconds = least(lambda: build(trt, model, recipe, architecture), chosen.rounds)  # noqa: B023
                print(f"| {precision} | {architecture} | {seconds:.2f} | {size:,} |", flush=True)
    hand, ours = overhead(trt, chosen.model, max(chosen.rounds, 5))
    print(f"by hand {hand:.2f} s of processor time, by the backend {ours:.2f} s: {ours / hand - 1:+.1%}")


if __name__ == "__main__":
    main()
