"""trtreg detect: pictures and videos looked at by a fetched engine, by real parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from footage import BLUE, GREEN, RED, read_video, square, write_picture, write_video
from registry.conftest import Told, add
from small_models import write_classifier, write_detector
from trtreg.core.detection import DetectReport
from trtreg.core.names import parse_model_name
from trtreg.core.recipe import Precision, ShapeRange, parse_shape
from trtreg.core.request import Request
from trtreg.errors import Miss, UsageError
from trtreg.tasks.marking import colour
from trtreg.tasks.pictures import read_picture
from trtreg.wiring import wiring


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry that a module's tests share. It knows `squares`, a detector, and `tiny`, a classifier."""
    folder = tmp_path_factory.mktemp("shared")
    registry = wiring.open_registry(settings=wiring.settings({"home": str(folder / "home")}))
    add(registry, "squares", write_detector(folder / "squares.onnx"))
    add(registry, "tiny", write_classifier(folder / "tiny.onnx"))
    return folder / "home"


def detect(
    home: Path,
    model: str,
    *given: Path,
    precision: Precision = Precision.FP32,
    shapes: tuple[ShapeRange, ...] = (),
    **more: Any,
) -> DetectReport:
    viewer = wiring.open_viewer(wiring.settings({"home": str(home)}), Told())
    request = Request(model=parse_model_name(model), precision=precision, shapes=shapes)
    return viewer.detect(request, given, **more)


def test_boxes_are_found_named_and_drawn_where_the_squares_are(home: Path, tmp_path: Path) -> None:
    red = write_picture(tmp_path / "in" / "red.png", square(RED, side=128))
    green = write_picture(tmp_path / "in" / "green.jpg", square(GREEN, column=3, side=128))
    none = write_picture(tmp_path / "in" / "none.bmp", np.zeros((48, 48, 3), np.uint8))
    report = detect(home, "squares", red, green, none, output=str(tmp_path / "out"))
    assert [dict(look.counts) for look in report.looks] == [{"red": 1}, {"green": 1}, {}]
    (found,) = report.looks[0].found
    assert (found.kind, found.score) == (0, pytest.approx(1, abs=0.02))
    assert found.corners == pytest.approx((32, 32, 64, 64), abs=0.5)
    assert (report.family, report.preprocess) == ("yolov5", "letterbox:64")
    assert (report.engine.frames, report.reference, report.pipeline.frames) == (3, None, 3)
    assert report.pipeline.seconds > report.engine.seconds > 0
    drawn = read_picture(tmp_path / "out" / "red.png")
    assert tuple(drawn[63, 48]) == colour(0)
    assert tuple(drawn[100, 100]) == (0, 0, 0)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["green.jpg", "none.png", "red.png"]
    assert (tmp_path / "out" / "green.jpg").read_bytes()[:3] == b"\xff\xd8\xff"


def test_a_video_is_looked_at_frame_by_frame_beside_the_original(home: Path, tmp_path: Path) -> None:
    shown = [square(RED, column=1), square(RED, column=2), square(BLUE, row=3), np.zeros((64, 64, 3), np.uint8)]
    video = write_video(tmp_path / "clip.mkv", shown, times=[0, 2, 3, 5])
    report = detect(home, "squares", video, output=str(tmp_path / "out"), beside=True, precision=Precision.FP16)
    (look,) = report.looks
    assert (look.frames, dict(look.counts), look.agreement) == (4, {"red": 2, "blue": 1}, 1.0)
    assert report.reference is not None
    assert (report.engine.frames, report.reference.frames) == (4, 4)
    assert (report.engine.title, report.reference.title) == ("onnxruntime fp16", "onnxruntime, original")
    times, frames = read_video(tmp_path / "out" / "clip.mp4")
    assert [float(time) for time in times] == pytest.approx([0, 0.2, 0.3, 0.5])
    height, width, _ = frames[0].shape
    assert (width, height) == (64 + 4 + 64, 24 + 64)
    for number, column in ((0, 1), (1, 2)):
        for left in (0, 64 + 4):
            inside = frames[number][24 + 24, left + 16 * column + 8]
            assert inside == pytest.approx(np.array(RED), abs=80)
    # Nothing was found in the last one, so that both halves are black below their titles.
    assert frames[3][24:].max() < 60


def test_what_can_not_be_read_is_told_and_the_others_go_on(home: Path, tmp_path: Path) -> None:
    bad_picture, bad_video = tmp_path / "bad.jpg", tmp_path / "bad.mp4"
    bad_picture.write_bytes(b"no picture")
    bad_video.write_bytes(write_video(tmp_path / "good.mp4", [square(RED)]).read_bytes()[:600])
    good = write_picture(tmp_path / "good.png", square(BLUE))
    report = detect(home, "squares", bad_picture, bad_video, good, output=str(tmp_path / "out"))
    first, second, third = report.looks
    assert "bad.jpg is no picture that can be read" in first.error
    assert "bad.mp4 is no video that can be read" in second.error
    assert (third.error, dict(third.counts)) == ("", {"blue": 1})
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.png"]


def test_confidence_family_and_names_are_what_one_says(home: Path, tmp_path: Path) -> None:
    half = write_picture(tmp_path / "half.png", square((128, 0, 0)))

    def counts(**more: Any) -> Mapping[str, int]:
        return detect(home, "squares", half, output=str(tmp_path / "out"), **more).looks[0].counts

    assert counts(confidence=0.4, names={"0": "ruby"}, family="yolov5") == {"ruby": 1}
    assert counts(confidence=0.6) == {}
    with pytest.raises(UsageError, match="letterbox:32 makes images: float32"):
        counts(preprocess="letterbox:32")


def test_a_classifier_says_its_best_classes_once_it_is_said_how_pictures_are_prepared(
    home: Path, tmp_path: Path
) -> None:
    picture = write_picture(tmp_path / "a.png", square(RED))
    with pytest.raises(UsageError, match="classifiers are given their pictures in many ways"):
        detect(home, "tiny", picture, output=str(tmp_path / "out"))
    report = detect(home, "tiny", picture, output=str(tmp_path / "out"), preprocess="classify:16", beside=True)
    (look,) = report.looks
    assert sorted(one.kind for one in look.found) == [0, 1, 2, 3]
    assert (look.destination, look.agreement) == (None, 1.0)
    video = write_video(tmp_path / "a.mp4", [square(RED)])
    report = detect(home, "tiny", video, output=str(tmp_path / "out"), preprocess="classify:16")
    assert "is a video, and a classifier" in report.looks[0].error


def test_no_build_means_a_miss_and_leaves_nothing(home: Path, tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "a.png", square(RED))
    with pytest.raises(Miss):
        detect(home, "squares", picture, output=str(tmp_path / "out"), build=False, precision=Precision.BF16)
    assert not (tmp_path / "out").exists()


@pytest.mark.data
def test_yolov5n_sees_on_the_known_pictures_what_is_expected_and_on_a_video_of_them(
    shared_data: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    registry = wiring.open_registry(settings=wiring.settings({"home": str(home)}))
    add(registry, "yolov5n", shared_data / "models" / "yolov5n.onnx")
    shown = [shared_data / "images" / name for name in ("bus.jpg", "zidane.jpg")]
    still = read_picture(shown[1])
    video = write_video(tmp_path / "zidane.mov", [still, still])
    shapes = (parse_shape("images=1x3x640x640"),)
    report = detect(home, "yolov5n", *shown, video, output=str(tmp_path / "out"), shapes=shapes)
    expected = json.loads((shared_data / "expected.json").read_text())["detections_conf_0.25_iou_0.45"]["yolov5n"]
    for look, picture in zip(report.looks, shown, strict=False):
        wanted = expected[picture.name]
        assert [one.kind for one in look.found] == [row["cls"] for row in wanted]
        assert [one.score for one in look.found] == pytest.approx([row["conf"] for row in wanted], abs=2e-3)
        assert np.array([one.corners for one in look.found]) == pytest.approx(
            np.array([row["xyxy"] for row in wanted]), abs=0.5
        )
    assert dict(report.looks[2].counts) == {"class 0": 4, "class 27": 2}
    assert len(read_video(tmp_path / "out" / "zidane.mp4")[1]) == 2
