"""trtreg eval: engines beside the original on all of a sample, by real parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from drawn_pictures import draw_pictures, label_boxes, label_classes
from registry.conftest import Told, add
from registry.machines import GPU, machine_with_gpu
from small_models import write_classifier, write_detector, write_sample, write_vanishing
from trtreg.core.evaluation import Evaluation
from trtreg.core.names import parse_model_name
from trtreg.core.recipe import Precision
from trtreg.core.request import Request
from trtreg.core.sample import PictureFolder, Task
from trtreg.errors import NotFound, UsageError
from trtreg.measuring.evaluating import Evaluator, requests_for
from trtreg.registry import Registry
from trtreg.wiring import wiring


@pytest.fixture
def evaluator(told: Told) -> Evaluator:
    return wiring.open_evaluator(wiring.settings(), told)


@pytest.fixture
def detector(registry: Registry, tmp_path: Path) -> Registry:
    """A registry that knows `seer`."""
    add(registry, "seer", write_detector(tmp_path / "detector.onnx"))
    return registry


@pytest.fixture
def streets(tmp_path: Path) -> PictureFolder:
    return PictureFolder(
        task=Task.DETECTION,
        preprocess="letterbox:64",
        images=draw_pictures(tmp_path / "streets"),
        labels=label_boxes(tmp_path / "boxes.json"),
    )


def measured(
    evaluator: Evaluator, name: str, *precisions: str, backends: tuple[str, ...] = ("auto",), **more: object
) -> tuple[Evaluation, dict[str, bytes]]:
    model = parse_model_name(name)
    requests = requests_for(Request(model=model), [Precision(p) for p in precisions], backends)
    return evaluator.evaluate(model, requests, **more)  # type: ignore[arg-type]


def test_a_detector_s_engines_are_measured_on_all_pictures(
    detector: Registry, evaluator: Evaluator, streets: PictureFolder
) -> None:
    made, jpegs = measured(evaluator, "seer", "fp32", "fp16", pictures=streets, shown=3)
    assert [row.name for row in made.rows] == ["onnxruntime, original", "onnxruntime fp32", "onnxruntime fp16"]
    assert [row.state for row in made.rows] == ["reference", "published", "published"]
    for trial in made.trials:
        assert trial.figures["ap50"] == pytest.approx(99.5)
        assert trial.figures["agreement"] == 1
        assert trial.run.p50 > 0
    assert made.setting.family == "yolov5"
    assert made.class_name(0) == "red"
    assert made.setting.processors.endswith(" threads")
    assert (made.setting.cases, made.setting.labels) == (4, 2)
    assert all(row.size > 0 and (row.build_seconds or 0) > 0 for row in made.rows[1:])
    fp32, fp16 = made.trials[1:]
    assert all(errors.largest < 1e-6 for errors in fp32.errors)
    assert any(1e-6 < errors.largest < 0.01 for errors in fp16.errors)
    (specimen,) = made.shown
    assert (specimen.name, specimen.differs) == ("0.png", "")
    assert [len(finding.boxes) for finding in specimen.findings] == [1, 1, 1]
    assert specimen.findings[0].boxes[0].left == pytest.approx(0, abs=1e-3)
    assert specimen.findings[0].boxes[0].width == pytest.approx(0.25, abs=1e-3)
    assert jpegs[specimen.file].startswith(b"\xff\xd8")


def test_figures_of_a_gpu_name_it(detector: Registry, told: Told, streets: PictureFolder) -> None:
    evaluator = wiring.open_evaluator(wiring.settings(), told, machine_with_gpu)
    made, _ = measured(evaluator, "seer", "fp32", pictures=streets)
    assert made.setting.processors.endswith(f" threads, {GPU}")


def test_the_model_s_own_sample_of_pictures_is_looked_at_before_its_tensors(
    detector: Registry, evaluator: Evaluator, streets: PictureFolder, tmp_path: Path
) -> None:
    name = parse_model_name("seer")
    tensors = tmp_path / "tensors.npz"
    np.savez(tensors, images=np.zeros((1, 3, 64, 64), np.float32))
    sampler = wiring.open_sampler(wiring.settings())
    sampler.add_tensors(name, "tensors", tensors)
    sampler.add_pictures(name, "streets", streets)
    made, jpegs = measured(evaluator, "seer", "fp16", shown=2)
    assert made.sample == "streets"
    assert made.setting.inputs == "4 pictures by letterbox:64"
    assert made.trials[1].figures["ap50"] == pytest.approx(99.5)
    assert jpegs[made.shown[0].file].startswith(b"\xff\xd8")
    assert measured(evaluator, "seer", "fp16", sample="tensors")[0].setting.task == ""


def test_fewer_pictures_are_taken_where_that_is_asked_for(
    detector: Registry, evaluator: Evaluator, streets: PictureFolder
) -> None:
    made, _ = measured(evaluator, "seer", "fp32", pictures=streets, limit=2, coco=True)
    assert made.setting.cases == 2
    assert made.reference.figures["coco_ap50"] == pytest.approx(100)


def test_what_cannot_be_built_here_has_a_row_that_says_why(
    detector: Registry, evaluator: Evaluator, streets: PictureFolder
) -> None:
    made, _ = measured(evaluator, "seer", "fp32", "int8", backends=("onnxruntime", "tensorrt"), pictures=streets)
    states = {row.name: (row.state, row.reason) for row in made.rows}
    assert states["onnxruntime fp32"] == ("published", "")
    assert states["onnxruntime int8"][0] == "absent"
    assert "has no sample" in states["onnxruntime int8"][1]
    assert states["tensorrt fp32"][0] == "absent"
    assert "tensorrt can't be used here" in states["tensorrt fp32"][1]


def test_an_engine_that_the_gate_rejects_is_measured_and_not_served(
    registry: Registry, evaluator: Evaluator, tmp_path: Path
) -> None:
    add(registry, "vanishing", write_vanishing(tmp_path / "vanishing.onnx"))
    # The first time it is built, the second time it is remembered.
    for _ in range(2):
        made, _jpegs = measured(evaluator, "vanishing", "fp16")
        (_, rejected) = made.rows
        assert rejected.state == "rejected"
        assert "relative L2" in rejected.reason
        assert rejected.trial is not None
        assert rejected.trial.errors[0].largest > 0
    made, _jpegs = measured(evaluator, "vanishing", keys=(rejected.key[:12],))
    assert [row.state for row in made.rows] == ["reference", "rejected"]


def test_a_rejected_engine_whose_plan_is_gone_still_has_its_row(
    registry: Registry, evaluator: Evaluator, tmp_path: Path
) -> None:
    add(registry, "vanishing", write_vanishing(tmp_path / "vanishing.onnx"))
    measured(evaluator, "vanishing", "fp16")
    (engine,) = registry.engines(model="vanishing")
    for file in engine.manifest.plan.files:
        registry._store.remove_blob(file.sha256)
    made, _ = measured(evaluator, "vanishing", "fp16")
    assert made.rows[1].trial is None
    assert made.rows[1].reason.endswith("its plan isn't kept")


def test_a_classifier_is_measured_by_its_best_classes(
    with_model: Registry, evaluator: Evaluator, tmp_path: Path
) -> None:
    pictures = PictureFolder(
        task=Task.CLASSIFICATION,
        preprocess="classify:16",
        images=draw_pictures(tmp_path / "pictures"),
        labels=label_classes(tmp_path / "classes.json"),
    )
    made, _ = measured(evaluator, "tiny", "fp16", pictures=pictures, shown=2)
    assert made.reference.figures.keys() == {"top1", "top5", "agreement"}
    assert made.setting.family == "classifier"
    assert len(made.shown[0].findings[0].classes) == 4


def test_a_sample_of_tensors_gives_errors_and_times_alone(
    registry: Registry, evaluator: Evaluator, classifier: Path, tmp_path: Path
) -> None:
    add(registry, "tiny", classifier, samples={"tensors": write_sample(tmp_path / "tensors.npz")})
    made, _ = measured(evaluator, "tiny", "fp16", shown=4)
    assert made.sample == "tensors"
    assert "cases of tensors" in made.setting.inputs
    assert made.setting.task == ""
    assert made.trials[1].errors
    assert made.trials[1].figures == {}
    with pytest.raises(NotFound, match="tiny@1 has no sample 'photos'"):
        measured(evaluator, "tiny", "fp16", sample="photos")


def test_an_engine_of_another_model_is_refused(with_model: Registry, evaluator: Evaluator, tmp_path: Path) -> None:
    add(with_model, "other", write_classifier(tmp_path / "other.onnx", seed=1))
    key = with_model.get("other").key
    with pytest.raises(UsageError, match="is an engine of other@1, and tiny@1 is evaluated"):
        measured(evaluator, "tiny", "fp32", keys=(key,))


def test_the_same_engine_named_twice_is_measured_once(with_model: Registry, evaluator: Evaluator) -> None:
    key = with_model.get("tiny").key
    made, _ = measured(evaluator, "tiny", "fp32", keys=(key,))
    assert [row.key for row in made.rows] == ["", key]


def test_a_precision_gets_only_what_it_has_a_use_for() -> None:
    wish = Request(model=parse_model_name("tiny"), keep_fp32=("Conv",), calibration="pictures")
    fp32, fp16, int8 = requests_for(wish, [Precision.FP32, Precision.FP16, Precision.INT8], ["auto"])
    assert (fp32.keep_fp32, fp32.calibration) == ((), "")
    assert (fp16.keep_fp32, fp16.calibration) == (("Conv",), "")
    assert (int8.keep_fp32, int8.calibration) == (("Conv",), "pictures")


@pytest.mark.data
@pytest.mark.slow
def test_a_real_detector_and_its_engine_see_what_is_expected_on_the_known_pictures(
    registry: Registry, evaluator: Evaluator, shared_data: Path, tmp_path: Path
) -> None:
    wanted = json.loads((shared_data / "expected.json").read_text())["detections_conf_0.25_iou_0.45"]["yolov5n"]
    sizes = {"bus.jpg": (810, 1080), "zidane.jpg": (1280, 720)}
    for name in sizes:
        (tmp_path / "known").mkdir(exist_ok=True)
        (tmp_path / "known" / name).symlink_to(shared_data / "images" / name)
    labels = {name: [[row["cls"], *_centred(row["xyxy"], sizes[name])] for row in wanted[name]] for name in sizes}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    add(registry, "yolov5n", shared_data / "models" / "yolov5n.onnx")
    known = PictureFolder(
        task=Task.DETECTION,
        preprocess="letterbox:640",
        images=tmp_path / "known",
        labels=tmp_path / "labels.json",
    )
    made, _ = measured(evaluator, "yolov5n", "fp16", pictures=known, shown=1)
    assert [trial.agreements for trial in made.trials] == [dict.fromkeys(sizes, 1.0)] * 2
    # The labels are what is expected, so that all of it is found.
    assert [round(trial.figures["ap50"], 1) for trial in made.trials] == [99.5, 99.5]
    (picture,) = made.shown
    for finding in picture.findings:
        assert [box.kind for box in finding.boxes] == [row["cls"] for row in wanted[picture.name]]
        assert [box.score for box in finding.boxes] == pytest.approx(
            [row["conf"] for row in wanted[picture.name]], abs=2e-3
        )


def _centred(corners: list[float], size: tuple[int, int]) -> list[float]:
    left, top, right, bottom = (corner / size[i % 2] for i, corner in enumerate(corners))
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
