"""What the registry adds to calling TensorRT-RTX's builder alone: yolov5s, fp16, for sm_89, which needs no GPU.

    python benchmarks/build_overhead.py [MODEL.onnx] [--rounds N]

Three kinds of fresh process take turns: the builder alone, on a model that was rewritten to fp16 before; the same with
our rewriting in it; and `trtreg build --rebuild`, which brings the model from the store, rewrites it and builds in a
child process, hashes everything and publishes. Medians of wall-clock and of processor seconds, children included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import described
from nvidia_builds import DEFAULT_MODEL

ALONE = """
import sys
from pathlib import Path
import tensorrt_rtx as trt
source, plan, wanted = sys.argv[1:]
if wanted:
    from trtreg.core.recipe import Precision, Recipe
    from trtreg.onnx_models.precision import rewrite
    recipe, folder = Recipe(precision=Precision(wanted)), Path(plan).parent / "rewritten"
    folder.mkdir()
    done = rewrite(model=Path(source), recipe=recipe, runtime="tensorrt-rtx", folder=folder, calibration=None)
    source = str(done.path)
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
assert parser.parse_from_file(source)
config = builder.create_builder_config()
config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 4 << 30)
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM89, 0)
Path(plan).write_bytes(builder.build_serialized_network(network, config))
"""


def run(*command: str, home: str = "") -> bytes:
    """What it prints."""
    environment = {**os.environ, "TRTREG_HOME": home}
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ).stdout


def timed(*command: str, home: str = "") -> tuple[float, float]:
    """Wall-clock and processor seconds of one process with its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TRTREG_HOME": home},
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def alone(model: Path, precision: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        return timed(sys.executable, "-c", ALONE, str(model), str(Path(folder, "plan")), precision)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", nargs="?", type=Path, default=DEFAULT_MODEL)
    arguments.add_argument("--rounds", type=int, default=5)
    chosen = arguments.parse_args()
    trtreg = (sys.executable, "-m", "trtreg_cli.main")
    with tempfile.TemporaryDirectory() as home:
        timed(*trtreg, "model", "add", "yolov5s", str(chosen.model), home=home)
        build = (*trtreg, "build", "yolov5s", "--fp16", "--backend", "tensorrt-rtx", "--target", "sm_89", "--rebuild")
        rewritten = Path(home, "fp16.onnx")
        rewrite_to(chosen.model, rewritten)
        kinds = {
            "builder alone": lambda: alone(rewritten, ""),
            "with our rewriting": lambda: alone(chosen.model, "fp16"),
            "trtreg build": lambda: timed(*build, home=home),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
        for turn in range(chosen.rounds + 1):
            for name, kind in kinds.items():
                measured = kind()
                if turn:  # The first round warms the disk's cache.
                    times[name].append(measured)
        (waiting,) = json.loads(run(*trtreg, "ls", "--unproven", "--json", home=home))
    print(described(("trtreg", "tensorrt-rtx-cu12", "onnx")))
    print(f"{chosen.model.name}, fp16, sm_89, medians of {chosen.rounds} rounds")
    print("| process | seconds | of processor time |\n| --- | --- | --- |")
    medians = {n: tuple(statistics.median(column) for column in zip(*t, strict=True)) for n, t in times.items()}
    for name, (wall, processor) in medians.items():
        print(f"| {name} | {wall:.2f} | {processor:.2f} |")
    print("inside the last build:", waiting["manifest"]["provenance"]["seconds"])


def rewrite_to(model: Path, path: Path) -> None:
    from trtreg.core.recipe import Precision, Recipe
    from trtreg.onnx_models.precision import rewrite

    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe(precision=Precision.FP16)
        done = rewrite(model=model, recipe=recipe, runtime="tensorrt-rtx", folder=Path(folder), calibration=None)
        path.write_bytes(done.path.read_bytes())


if __name__ == "__main__":
    main()
