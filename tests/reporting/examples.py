"""An evaluation made up: a detector, an engine that agrees, one that the gate has rejected, one that isn't there."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from trtreg.core.benchmark import latencies
from trtreg.core.evaluation import (
    BINS,
    CURVE_STEP,
    Box,
    Evaluation,
    Finding,
    OutputErrors,
    Row,
    Setting,
    ShownPicture,
    Trial,
)

HOSTILE = "</title></text><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">&\"'"


def evaluation(*, named: Callable[[str], str] = str) -> tuple[Evaluation, dict[str, bytes]]:
    """The record and its pictures; every name in it goes through `named`."""
    box = Box(left=0.05, top=0.1, width=0.3, height=0.7, kind=1, score=0.87)
    off = replace(box, left=0.5, kind=2, alone=True)
    reference = _trial(named("onnxruntime, original"), 60.0, 100.0)
    same = _trial(named("onnxruntime fp16"), 59.8, 52.0, spread=8)
    broken = _trial(named("onnxruntime int8"), 0.0, 30.0, spread=20)
    shown = tuple(
        ShownPicture(
            name=named(f"{number}.jpg"),
            width=320,
            height=200,
            file=f"{number}.jpg",
            differs=named("onnxruntime int8") if number else "",
            labelled=(1,),
            findings=(
                Finding(name=reference.name, agreement=1, boxes=(box,)),
                Finding(name=same.name, agreement=1, boxes=(replace(box, score=0.86),)),
                Finding(name=broken.name, agreement=0, boxes=(off,), missed=(0,)),
            ),
        )
        for number in range(2)
    )
    rows = (
        _row(reference, "reference"),
        _row(same, "published"),
        _row(broken, "rejected", named("output[..., 4-84]: relative L2 error 1 > 0.5")),
        Row(
            name=named("tensorrt fp16"),
            key="",
            state="absent",
            reason=named("tensorrt isn't installed"),
            size=0,
            build_seconds=None,
            trial=None,
        ),
    )
    setting = Setting(
        task="detection",
        family="yolov5",
        inputs="2 pictures by letterbox:640",
        cases=2,
        labels=2,
        class_names={"1": named("person"), "2": named("bus")},
        threads=2,
        machine=named("a CPU"),
        versions={"onnxruntime": "1.32.0"},
        gpu=named("a GPU"),
    )
    made = Evaluation(model=named("yolov5s@1"), sample=named("streets"), rows=rows, setting=setting, shown=shown)
    return made, {picture.file: _jpeg(place) for place, picture in enumerate(shown)}


def _trial(name: str, ap50: float, milliseconds: float, spread: int = 0) -> Trial:
    recalls = [i * CURVE_STEP for i in range(round(1 / CURVE_STEP) + 1)]
    shares = [0.0] * BINS
    if spread:
        shares[spread], shares[spread + 1] = 0.6, 0.3
    errors = [
        OutputErrors(
            output=f"output[..., {columns}]",
            values=1000,
            equal=0.1,
            shares=tuple(shares),
            mean=1e-4,
            largest=1e-2,
            nonfinite=0,
        )
        for columns in ("0-3", "4-84")
    ]
    return Trial(
        name=name,
        key="" if not spread else "f" * 64,
        figures={"precision": ap50, "recall": ap50, "ap50": ap50, "ap50_95": ap50 / 2, "agreement": min(ap50, 1.0)},
        run=latencies([milliseconds * (1 + i / 50) for i in range(9)]),
        curve=tuple(round(ap50 / 60 * (1 - recall**3), 4) for recall in recalls),
        errors=tuple(errors) if spread else (),
        agreements={"0.jpg": 1.0, "1.jpg": min(ap50, 1.0)},
    )


def _row(trial: Trial, state: str, reason: str = "") -> Row:
    took = None if state == "reference" else 3.5
    return Row(
        name=trial.name, key=trial.key, state=state, reason=reason, size=29_400_000, build_seconds=took, trial=trial
    )


def _jpeg(place: int) -> bytes:
    """Two houses, drawn."""
    picture = np.full((200, 320, 3), (150, 190, 225), np.uint8)
    picture[140:] = (110, 140, 90)
    picture[40:160, 20:110] = (170, 90, 70) if place else (120, 110, 160)
    picture[70:160, 160:256] = (200, 180, 120)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=85)
    return file.getvalue()
