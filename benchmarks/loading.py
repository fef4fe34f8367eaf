"""What loading a plan of the onnxruntime backend costs, against loading the model that it was made from.

    python benchmarks/loading.py [MODEL.onnx] [--rounds N]

Each figure is the least of N fresh processes, which take turns; files are in the page cache, and importing ONNX
Runtime isn't counted. On a busy machine, trust the CPU times. Memory is what the process grew by when it had created
the session, before it touched the weights that it maps.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

DEFAULT_MODEL = Path(os.environ.get("TRTREG_TEST_DATA", "../shared/data")) / "models" / "yolov5s.onnx"

ONCE = """
import json, sys, time
from pathlib import Path
import numpy, onnxruntime
from trtreg.backends.onnxruntime import OnnxRuntime

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

class Original:
    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    def run(self, inputs):
        return self.session.run(None, inputs)

path, kind = Path(sys.argv[1]), sys.argv[2]
inputs = {name: numpy.ones(shape, dtype) for name, dtype, shape in json.loads(sys.argv[3])}
before, started, spent = resident(), time.perf_counter(), time.process_time()
session = OnnxRuntime().load(path) if kind == "plan" else Original(path)
created, grown, creating = time.perf_counter(), resident(), time.process_time()
session.run(inputs)
first, running = time.perf_counter(), time.process_time()
steady = []
for _ in range(10):
    begun = time.perf_counter()
    session.run(inputs)
    steady.append(time.perf_counter() - begun)
print(json.dumps({
    "create ms": 1e3 * (created - started),
    "create, CPU ms": 1e3 * (creating - spent),
    "create + first run ms": 1e3 * (first - started),
    "the same, CPU ms": 1e3 * (running - spent),
    "later runs ms": 1e3 * min(steady),
    "memory after create MiB": grown - before,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", default=DEFAULT_MODEL)
    parser.add_argument("--rounds", type=int, default=8)
    given = parser.parse_args()
    if not given.model.is_file():
        parser.error(f"no model at {given.model}; name one, or set TRTREG_TEST_DATA")

    with TemporaryDirectory() as folder:
        plan = build(given.model, Path(folder))
        inputs = json.dumps(ones_for(plan))
        paths = {"original": given.model, "plan": plan}
        measured = {kind: [] for kind in paths}
        for _ in range(given.rounds):
            for kind, path in paths.items():
                measured[kind].append(once(path, kind, inputs))
    show(given, {kind: {name: min(m[name] for m in runs) for name in runs[0]} for kind, runs in measured.items()})


def build(model: Path, folder: Path) -> Path:
    from trtreg.backends.onnxruntime import OnnxRuntime
    from trtreg.core.recipe import Recipe
    from trtreg.core.target import Target

    version = OnnxRuntime().versions()["onnxruntime"]
    here = Target(runtime="onnxruntime", runtime_version=version, architecture="here", platform="here")
    return folder / OnnxRuntime().build(model, Recipe(), here, folder)


def ones_for(plan: Path) -> list[tuple[str, str, list[int]]]:
    """Name, type and shape of each input; what the model leaves open is 1, or 640 for a picture's sides."""
    from trtreg.backends.onnxruntime import OnnxRuntime

    sides = {"height": 640, "width": 640}
    inputs = OnnxRuntime().load(plan).signature.inputs
    return [(i.name, i.dtype, [d if isinstance(d, int) else sides.get(d, 1) for d in i.dimensions]) for i in inputs]


def once(path: Path, kind: str, inputs: str) -> dict[str, float]:
    command = [sys.executable, "-c", ONCE, str(path), kind, inputs]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def show(given: argparse.Namespace, least: dict[str, dict[str, float]]) -> None:
    import numpy as np
    import onnxruntime

    told = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in told if "model name" in line), "unknown CPU")
    print(f"{given.model.name}, the least of {given.rounds} processes each")
    print(f"{cpu}, {os.cpu_count()} CPUs; onnxruntime {onnxruntime.__version__}, numpy {np.__version__}")
    print(f"{'':26}{'original':>10}{'plan':>10}{'ratio':>8}")
    for name, original in least["original"].items():
        plan = least["plan"][name]
        ratio = f"{original / plan:.2f}" if plan > 0 else "-"
        print(f"{name:26}{original:10.1f}{plan:10.1f}{ratio:>8}")


if __name__ == "__main__":
    main()
