from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from trtreg.core.signature import TensorSpec
from trtreg.errors import UsageError
from trtreg.tasks.detections import SHOWING
from trtreg.tasks.evaluation import EngineFailed, evaluate, read_cases
from trtreg.tasks.families import Detector, family
from trtreg.tasks.labels import read_labels
from trtreg.tasks.pictures import find_pictures, read_picture
from trtreg.tasks.preprocess import parse_preprocess
from trtreg.tasks.truth import Array, Task, Truth

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
LETTERBOX = parse_preprocess("letterbox:64")
TAKEN = TensorSpec("images", "float32", (1, 3, 64, 64))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of 32 times 16 pixels: `dark` with a box of class 1 in its left half, and `light` with nothing."""
    for name, value in (("dark", 0), ("light", 255)):
        Image.fromarray(np.full((16, 32, 3), value, np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture
def truth(folder: Path) -> Truth:
    (folder / "labels.json").write_text(json.dumps({"dark.png": [[1, 0.25, 0.5, 0.5, 1]]}))
    return read_labels(folder / "labels.json", Task.DETECTION)


def seeing(*place: float) -> Run:
    """A detector that sees `place` in the dark."""

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        output = np.zeros((1, 20, 7), np.float32)
        if inputs["images"].min() == 0:
            output[0, 0] = place
        return {"output": output}

    return run


RIGHT = seeing(16, 32, 32, 32, 1, 0, 0.9)
BLIND = seeing(0, 0, 0, 0, 0, 0, 0)


def test_reference_and_engines_are_measured_on_the_same_pictures(folder: Path, truth: Truth) -> None:
    seconds = count()
    scores = evaluate(
        {"reference": RIGHT, "same": RIGHT, "blind": BLIND},
        read_cases(find_pictures(folder), truth, LETTERBOX, TAKEN),
        family=family("yolov5"),
        taken="images",
        coco=True,
        clock=lambda: float(next(seconds)),
    )
    assert scores["reference"].figures["ap50"] == pytest.approx(99.5)
    assert scores["same"].figures == scores["reference"].figures
    assert scores["same"].figures["coco_ap50"] == pytest.approx(100)
    assert scores["same"].figures["agreement"] == 1
    assert scores["blind"].figures["ap50"] == 0
    assert scores["blind"].agreements == {"dark.png": 0, "light.png": 1}
    assert scores["blind"].figures["latency"] == 1000
    assert scores["blind"].detection is not None
    assert scores["blind"].detection.pictures == 2


def test_classifiers_are_measured_by_their_best_and_their_five_best(folder: Path) -> None:
    (folder / "labels.json").write_text(json.dumps({"dark": 4, "light": 0}))
    truth = read_labels(folder / "labels.json", Task.CLASSIFICATION)
    scores = evaluate(
        {"reference": lambda _: {"scores": np.arange(9, dtype=np.float32)[None]}},
        read_cases(
            find_pictures(folder), truth, parse_preprocess("classify:8"), TensorSpec("x", "float16", (1, 3, 8, 8))
        ),
        family=family("classifier"),
        taken="x",
    )
    assert (scores["reference"].figures["top1"], scores["reference"].figures["top5"]) == (0, 50)


def test_cases_come_in_the_type_that_the_model_takes(folder: Path, truth: Truth) -> None:
    taken = TensorSpec("images", "float16", ("batch", 3, 64, 64))
    assert {case.tensor.dtype.name for case in read_cases(find_pictures(folder), truth, LETTERBOX, taken)} == {
        "float16"
    }


@pytest.mark.parametrize(
    "taken", [TensorSpec("images", "float32", (1, 3, 32, 32)), TensorSpec("images", "uint8", (1, 3, 64, 64))]
)
def test_pictures_that_do_not_become_what_the_model_takes_are_refused(
    folder: Path, truth: Truth, taken: TensorSpec
) -> None:
    with pytest.raises(UsageError, match=r"letterbox:64 makes images: float32\[1x3x64x64\] of dark\.png"):
        list(read_cases(find_pictures(folder), truth, LETTERBOX, taken))


def test_a_picture_to_classify_needs_a_label(folder: Path) -> None:
    (folder / "labels.json").write_text(json.dumps({"dark": 4}))
    truth = read_labels(folder / "labels.json", Task.CLASSIFICATION)
    with pytest.raises(UsageError, match=r"light\.png has no label"):
        list(read_cases(find_pictures(folder), truth, LETTERBOX, TAKEN))


# --- the real thing ----------------------------------------------------------------------------------------

REAL = TensorSpec("images", "float32", (1, 3, 640, 640))


def loaded(model: Path) -> Run:
    options = onnxruntime.SessionOptions()  # type: ignore[attr-defined]
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])  # type: ignore[attr-defined]
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, dict(inputs)), strict=True))


@pytest.mark.data
@pytest.mark.parametrize("name", ["yolov5s", "yolov5n"])
@pytest.mark.parametrize("picture", ["bus.jpg", "zidane.jpg"])
def test_the_detections_on_the_known_pictures_are_the_expected_ones(name: str, picture: str, shared_data: Path) -> None:
    wanted = json.loads((shared_data / "expected.json").read_text())["detections_conf_0.25_iou_0.45"][name][picture]
    prepared = parse_preprocess("letterbox:640")(read_picture(shared_data / "images" / picture))
    yolov5 = family("yolov5")
    assert isinstance(yolov5, Detector)
    outputs = loaded(shared_data / "models" / f"{name}.onnx")({"images": prepared.tensor})
    found = yolov5.detections(outputs, SHOWING).placed(prepared.placement)
    assert found.classes.tolist() == [row["cls"] for row in wanted]
    assert found.scores == pytest.approx(np.array([row["conf"] for row in wanted]), abs=2e-3)
    assert found.corners == pytest.approx(np.array([row["xyxy"] for row in wanted]), abs=0.5)


def measured(shared_data: Path, names: list[str], pictures: int) -> dict[str, dict[str, float]]:
    truth = read_labels(shared_data / "coco128_labels.json", Task.DETECTION)
    shown = find_pictures(shared_data / "images" / "coco128")[:pictures]
    scores = evaluate(
        {name: loaded(shared_data / "models" / f"{name}.onnx") for name in names},
        read_cases(shown, truth, parse_preprocess("letterbox:640"), REAL),
        family=family("yolov5"),
        taken="images",
        coco=True,
    )
    return {name: dict(score.figures) for name, score in scores.items()}


# Measured here by the same code that gives expected.json's figures on all pictures: it keeps the short run honest.
@pytest.mark.data
def test_yolov5n_has_its_ap50_on_32_pictures(shared_data: Path) -> None:
    figures = measured(shared_data, ["yolov5n"], 32)["yolov5n"]
    assert (figures["ap50"], figures["coco_ap50"]) == pytest.approx((61.85, 62.08), abs=0.2)


@pytest.mark.data
@pytest.mark.slow
def test_both_detectors_have_their_ap50_on_all_128_pictures(shared_data: Path) -> None:
    expected = json.loads((shared_data / "expected.json").read_text())["ap50_coco128"]
    for name, figures in measured(shared_data, ["yolov5s", "yolov5n"], 128).items():
        assert figures["ap50"] == pytest.approx(expected[f"{name} fp32"]["ap50_yolov5"], abs=0.2)
        assert figures["coco_ap50"] == pytest.approx(expected[f"{name} fp32"]["ap50_coco101"], abs=0.2)


def test_an_engine_that_fails_on_a_later_picture_has_no_scores_and_the_others_go_on(folder: Path, truth: Truth) -> None:
    def fragile(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if inputs["images"].min() > 0:
            raise EngineFailed("too bright")
        return RIGHT(inputs)

    dropped: dict[str, str] = {}
    cases = [*read_cases(find_pictures(folder), truth, LETTERBOX, TAKEN)]
    runs = {"reference": RIGHT, "fragile": fragile, "blind": BLIND}
    # A letterbox has grey borders, so that only what is all white has nothing dark in it.
    bright = replace(cases[1], tensor=np.ones_like(cases[1].tensor))
    scores = evaluate(
        runs,
        [cases[0], bright],
        family=family("yolov5"),
        taken="images",
        drop=lambda name, failure: dropped.update({name: str(failure)}),
    )
    assert scores.keys() == {"reference", "blind"}
    assert dropped == {"fragile": "too bright"}
    assert scores["blind"].agreements.keys() == {"dark.png", "light.png"}
    with pytest.raises(EngineFailed):
        evaluate(runs, [bright], family=family("yolov5"), taken="images")
