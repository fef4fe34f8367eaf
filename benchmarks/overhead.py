"""What the registry adds to a miss: all but the rewriting, the backend's build and the gate's runs.

python benchmarks/overhead.py [MODEL.onnx] [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import machine

import trtreg
from trtreg.onnx_models.synthesis import write_yolov5

WORK = ("rewrite", "build", "gate")


def main() -> None:
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    measured: list[dict[str, float]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            model = Path(sys.argv[1]) if len(sys.argv) > 1 else write_yolov5(Path(folder) / "yolov5s.onnx")
            registry = trtreg.open_registry(home=folder)
            registry.models.add("yolov5s", model, samples={}, tags={}, tolerance={}, progress=registry.progress)
            measured.append(dict(registry.get("yolov5s", precision="fp16").seconds))
    print(machine.described())
    stages = {stage: statistics.median(m[stage] for m in measured) for stage in measured[0]}
    for stage, seconds in stages.items():
        print(f"{stage:12} {seconds * 1e3:9.1f} ms  {100 * seconds / stages['total']:5.1f} %")
    overhead = statistics.median((m["total"] - sum(m[w] for w in WORK)) / m["total"] for m in measured)
    print(f"overhead (all but {', '.join(WORK)}): {100 * overhead:.1f} % of the whole (goal: under 5 %)")


if __name__ == "__main__":
    main()
