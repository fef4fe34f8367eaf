"""Pictures of coco128 for YOLOv5, and AP50 in YOLOv5's own way, by trtreg's own task metrics."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from trtreg.core.signature import TensorSpec
from trtreg.tasks.evaluation import Case, evaluate, read_cases
from trtreg.tasks.families import family
from trtreg.tasks.labels import read_labels
from trtreg.tasks.pictures import find_pictures
from trtreg.tasks.preprocess import parse_preprocess
from trtreg.tasks.truth import Array, Task

Detector = Callable[[Array], Array]
"""From float32[1, 3, 640, 640] to float32[1, 25200, 85]."""

_TAKEN = TensorSpec("images", "float32", (1, 3, 640, 640))


def read_pictures(data: Path, count: int) -> list[Case]:
    """The first `count` pictures of coco128, by name."""
    truth = read_labels(data / "coco128_labels.json", Task.DETECTION)
    pictures = find_pictures(data / "images" / "coco128")
    return list(islice(read_cases(pictures, truth, parse_preprocess("letterbox:640"), _TAKEN), count))


def figures(detectors: dict[str, Detector], pictures: Sequence[Case]) -> dict[str, dict[str, float]]:
    """AP50, AP50-95, P and R in percent of each, COCO's AP where its tools are, and the agreement with the first."""
    runs = {name: _run(detect) for name, detect in detectors.items()}
    coco = importlib.util.find_spec("pycocotools") is not None
    scores = evaluate(runs, pictures, family=family("yolov5"), taken=_TAKEN.name, coco=coco)
    return {name: dict(score.figures) for name, score in scores.items()}


def _run(detect: Detector) -> Callable[..., dict[str, Array]]:
    return lambda inputs: {"output": detect(inputs[_TAKEN.name])}
