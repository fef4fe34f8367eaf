"""What a hit costs: `trtreg get` as a whole process against `python -c "import click"`, and `registry.get` in Python.

    python benchmarks/hit.py [ROUNDS]

The two processes run in turn (A B A B), so that a busy moment hits both; medians and their ratio are printed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

import trtreg
from trtreg.onnx_models.synthesis import write_yolov5

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
WARM_CALLS = 500


def seconds(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"TRTREG_HOME": folder}
        model = Path(folder) / "yolov5n.onnx"
        write_yolov5(model, variant="n", image_size=320)
        registry = trtreg.open_registry(home=folder)
        trtreg_command = str(Path(sys.executable).with_name("trtreg"))
        subprocess.run([trtreg_command, "model", "add", "yolov5n", model], check=True, env=environment)
        registry.get("yolov5n@1")

        get, click = [], []
        for _ in range(ROUNDS):
            get.append(seconds([trtreg_command, "get", "yolov5n@1"], environment))
            click.append(seconds([sys.executable, "-c", "import click"], environment))
        warm = []
        for _ in range(WARM_CALLS):
            started = time.perf_counter()
            registry.get("yolov5n@1")
            warm.append(time.perf_counter() - started)

    print(machine.described())
    whole, bare = statistics.median(get), statistics.median(click)
    print(f"trtreg get, whole process        {whole * 1e3:7.1f} ms (best {min(get) * 1e3:.1f})")
    print(f"python -c 'import click'         {bare * 1e3:7.1f} ms (best {min(click) * 1e3:.1f})")
    print(f"ratio                            {whole / bare:7.2f}    (goal: at most 3)")
    print(f"registry.get, warm, in Python    {statistics.median(warm) * 1e3:7.3f} ms (goal: under 1)")


if __name__ == "__main__":
    main()
