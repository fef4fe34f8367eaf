"""AP50, agreement and latency of engines that trtreg has made, beside ONNX Runtime's CPU provider and PyTorch:

measure.py DATA RESULT.json [PICTURES [ROUNDS]]

All run in this one process, and in turn in every round: float32 pictures from numpy to float32 boxes in numpy, the
copies to the GPU and back included.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import onnxruntime
from detection import Detector, figures, read_pictures

import trtreg
from trtreg.errors import TrtregError

_WARM_UP = 5


def contenders(model: Path) -> dict[str, Detector]:
    """By name; those that can't be had are told on stderr and left out."""
    found: dict[str, Detector] = {"ONNX Runtime, CPU provider, fp32": _on_cpu(model)}
    for precision, kept in (("fp32", ()), ("fp16", ()), ("int8", ("/model.24/*",))):
        try:
            found[f"trtreg {precision}"] = _engine(precision, kept)
        except TrtregError as refusal:
            print(f"trtreg {precision}: {refusal.message}", file=sys.stderr)
    if importlib.util.find_spec("torch"):
        import torch
        from eager import EagerModel

        device = "cuda" if torch.cuda.is_available() else "cpu"
        for precision in ("fp32", "fp16") if device == "cuda" else ("fp32",):
            found[f"PyTorch eager, {device}, {precision}"] = EagerModel(model, device, half=precision == "fp16")
    return found


def latencies(detectors: dict[str, Detector], image: Any, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds by name: median, least, and the 95th percentile."""
    taken: dict[str, list[float]] = {name: [] for name in detectors}
    for number in range(-_WARM_UP, rounds):
        for name, detect in detectors.items():
            start = time.perf_counter()
            detect(image)
            if number >= 0:
                taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: _summary(values) for name, values in taken.items()}


def _summary(values: list[float]) -> dict[str, float]:
    return {
        "median_ms": statistics.median(values),
        "least_ms": min(values),
        "p95_ms": sorted(values)[int(0.95 * len(values))],
    }


def _on_cpu(model: Path) -> Detector:
    options: Any = onnxruntime.SessionOptions()  # type: ignore[attr-defined]
    # Its threads would otherwise go on spinning, and slow down whoever comes next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session: Any = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])  # type: ignore[attr-defined]
    return lambda image: session.run(None, {"images": image})[0]


def _engine(precision: str, kept: tuple[str, ...]) -> Detector:
    calibration = "pictures" if precision == "int8" else ""
    engine = trtreg.open_registry().get(
        "yolov5s", precision=precision, keep_fp32=kept, calibration=calibration, build=False
    )
    session = engine.load()
    return lambda image: session.run({"images": image})["output"]


def main(data: str, result: str, pictures: str = "32", rounds: str = "200") -> None:
    detectors = contenders(Path(data) / "models" / "yolov5s.onnx")
    shown = read_pictures(Path(data), int(pictures))
    times = latencies(detectors, shown[0].tensor, int(rounds))
    found = figures(detectors, shown)
    rows = {name: {**found[name], **times[name]} for name in detectors}
    for name, row in rows.items():
        print(f"{name:36}", "  ".join(f"{figure} {value:8.2f}" for figure, value in row.items()))
    about = {"pictures": int(pictures), "rounds": int(rounds), "onnxruntime": onnxruntime.__version__}
    Path(result).write_text(json.dumps({**about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
