"""trtreg sample and trtreg model require: what a model is for, and that no engine is served that isn't good at it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.conftest import Console
from small_models import write_classifier, write_finder, write_sample

LETTERBOX = ("--task", "detection", "--preprocess", "letterbox:64")


@pytest.fixture
def console(bare_console: Console, tmp_path: Path) -> Console:
    """In a home of each test's own that knows `finder`."""
    home = tmp_path / "home"
    assert bare_console("--home", home, "model", "add", "finder", write_finder(tmp_path / "finder.onnx")).code == 0
    return lambda *arguments: bare_console("--home", home, *arguments)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """`dark` has a box of class 1 in its left half, `light` has nothing."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, value in (("dark", 0), ("light", 255)):
        Image.fromarray(np.full((16, 32, 3), value, np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"dark.png": [[1, 0.25, 0.5, 0.5, 1]], "gone.png": [[0, 0.5, 0.5, 0.1, 0.1]]}))
    return path


def key_of(console: Console) -> str:
    key: str = console("ls", "--json").json[0]["manifest"]["key"]
    return key


def test_pictures_with_labels_become_part_of_a_version(console: Console, images: Path, labels: Path) -> None:
    added = console("sample", "add", "finder", "two", images, "--labels", labels, *LETTERBOX)
    assert added.out == "finder@1 has two: 2 pictures, 1 labels for detection, letterbox:64, yolov5\n"
    assert "1 labelled pictures aren't in images: left out" in added.err
    assert "two: 2 pictures" not in console("sample", "ls", "finder").out
    assert "2 pictures, 1 labels for detection" in console("model", "show", "finder").out
    (record,) = console("sample", "ls", "finder", "--json").json
    assert record["pictures"] == {
        "task": "detection", "preprocess": "letterbox:64", "family": "yolov5", "count": 2, "labels": 1
    }  # fmt: skip


def test_the_same_pictures_are_the_same_sample_and_others_need_another_name(
    console: Console, images: Path, labels: Path, tmp_path: Path
) -> None:
    call = ("sample", "add", "finder", "two", images, "--labels", labels, *LETTERBOX)
    assert console(*call).out == console(*call).out
    shutil.copy(images / "dark.png", images / "third.png")
    assert "finder@1 has another sample 'two' already" in console(*call).refused(2)
    assert console("sample", "rm", "finder", "two").out == "removed two from finder@1\n"
    assert "3 pictures" in console(*call).out
    assert "no sample 'none'" in console("sample", "rm", "finder", "none").refused(3)


def test_tensors_and_classified_pictures_are_samples_too(console: Console, images: Path, tmp_path: Path) -> None:
    assert console("model", "add", "tiny", write_classifier(tmp_path / "tiny.onnx")).code == 0
    tensors = write_sample(tmp_path / "real.npz")
    assert console("sample", "add", "tiny", "real", tensors, "--task", "tensors").out == "tiny@1 has real: tensors\n"
    (tmp_path / "classes.json").write_text('{"dark": 3, "light": 0}')
    said = ("--task", "classification", "--preprocess", "classify:16")
    added = console("sample", "add", "tiny", "two", images, "--labels", tmp_path / "classes.json", *said)
    assert added.out == "tiny@1 has two: 2 pictures, 2 labels for classification, classify:16, classifier\n"
    assert console("model", "require", "tiny", "top1 >= reference - 1", "agreement >= 0.5").code == 0
    assert console("build", "tiny", "--fp16").code == 0
    (measured,) = console("show", key_of(console), "--json").json["manifest"]["gate"]["tasks"]
    assert measured["figures"]["top1"] == measured["reference"]["top1"]


def test_an_engine_is_built_that_is_as_good_as_required(console: Console, images: Path, labels: Path) -> None:
    required = ("--require", "ap50 >= reference - 1.0", "--require", "agreement >= 0.99")
    assert console("sample", "add", "finder", "two", images, "--labels", labels, *LETTERBOX, *required).code == 0
    assert console("build", "finder", "--fp16").code == 0
    shown = console("show", key_of(console)).out
    assert "requires ap50 >= reference - 1\n" in shown
    assert "at its task, on two (2)" in shown
    assert console("build", "finder", "--int8", "--calibration", "two").code in (0, 5)


def test_an_engine_that_is_not_good_enough_is_rejected_until_less_is_required(
    console: Console, images: Path, labels: Path
) -> None:
    assert console("sample", "add", "finder", "two", images, "--labels", labels, *LETTERBOX).code == 0
    assert console("model", "require", "finder", "ap50 >= 99.9").out == "ap50 >= 99.9\n"
    assert console("get", "finder").refused(5) == "the gate rejects finder@1 (fp32): ap50 99.5 < 99.9"
    assert "before: ap50 99.5 < 99.9" in console("get", "finder").refused(5)
    assert "rejected" in console("explain", "finder").out

    assert console("model", "require", "finder", "ap50 >= 99").out == "ap50 >= 99\n"
    judged = console("gate", key_of(console))
    assert (judged.code, "published" in console("ls").out) == (0, True)

    # What is out is judged again when somebody asks for it, as under a narrower tolerance.
    assert console("model", "require", "finder", "ap50 >= reference + 0.1").code == 0
    assert console("get", "finder").code == 0
    assert console("gate", key_of(console)).code == 5
    assert console("model", "require", "finder", "--clear").out == "nothing beyond the tolerances\n"


def test_what_no_sample_measures_is_not_required(console: Console, images: Path) -> None:
    assert "asks for ap50, and finder@1's samples measure latency" in console(
        "model", "require", "finder", "ap50 >= reference - 1.0"
    ).refused(2)
    assert console("sample", "add", "finder", "bare", images, *LETTERBOX).code == 0
    assert "asks for ap50" in console("model", "require", "finder", "ap50 >= 1").refused(2)
    assert "asks for mAP" in console("model", "require", "finder", "mAP >= 1").refused(2)
    assert "is no requirement" in console("model", "require", "finder", "ap50 is good").refused(2)
    assert "finder@1 names a version" in console("model", "require", "finder@1", "agreement >= 0.9").refused(2)
    wanted = ("agreement >= 0.9", "latency <= 1000 * reference")
    assert console("model", "require", "finder", *wanted).out == "".join(f"{line}\n" for line in wanted)
    assert console("build", "finder").code == 0
    assert console("sample", "rm", "finder", "bare").code == 0
    assert "no engine of finder@1 can pass the gate" in console("build", "finder", "--fp16").refused(2)


def test_latency_is_measured_without_any_sample(console: Console) -> None:
    assert console("model", "require", "finder", "latency <= 0.0001").code == 0
    assert console("build", "finder").refused(5).startswith("the gate rejects finder@1 (fp32): latency ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("IMAGES",), 2, "pictures need --task and --preprocess"),
        (("IMAGES", "--task", "detection", "--preprocess", "letterbox:32"), 2, "letterbox:32 makes"),
        (("IMAGES", "--task", "detection", "--preprocess", "squeeze:64"), 2, "no way to prepare pictures"),
        (("IMAGES", *LETTERBOX, "--family", "yolov9"), 2, "no family of models 'yolov9'"),
        (("IMAGES", *LETTERBOX, "--family", "yolov8"), 2, "aren't those of the family 'yolov8'"),
        (("IMAGES", *LETTERBOX, "--family", "classifier"), 2, "'classifier' isn't for detection"),
        (("IMAGES", "--task", "classification", "--preprocess", "classify:64"), 2, "no family of ours gives"),
        (("IMAGES", *LETTERBOX, "--labels", "OTHERS"), 2, "labels none of the 2 pictures"),
        (("IMAGES", *LETTERBOX, "--labels", "NOWHERE"), 3, "no labels at"),
        (("NOWHERE", *LETTERBOX), 3, "no folder of pictures at"),
        (("EMPTY", *LETTERBOX), 3, "there are no pictures in"),
        (("BROKEN", *LETTERBOX), 2, "broken.png is no picture that can be read"),
        (("TENSORS", "--labels", "OTHERS"), 2, "tensors have no labels"),
        (("IMAGES", "--preprocess", "tensors"), 2, "is no readable .npz"),
        (("IMAGES", *LETTERBOX, "--require", "ap50 is good"), 2, "is no requirement"),
        (("IMAGES", *LETTERBOX, "--require", "ap50 >= 1"), 2, "asks for ap50"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_sample_is_said_and_nothing_is_added(
    console: Console, images: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    for name in ("empty", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "others.json").write_text('{"gone.png": [[0, 0.5, 0.5, 0.1, 0.1]]}')
    paths = {
        "IMAGES": images,
        "OTHERS": tmp_path / "others.json",
        "NOWHERE": tmp_path / "nowhere",
        "EMPTY": tmp_path / "empty",
        "BROKEN": tmp_path / "broken",
        "TENSORS": write_sample(tmp_path / "real.npz"),
    }
    refused = console("sample", "add", "finder", "two", *(paths.get(word, word) for word in arguments))
    assert said in refused.refused(code)
    assert console("sample", "ls", "finder", "--json").json == []


@pytest.mark.data
@pytest.mark.slow
def test_the_yolov5s_int8_engine_that_detects_nothing_is_rejected(
    bare_console: Console, shared_data: Path, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for picture in sorted((shared_data / "images" / "coco128").iterdir())[:8]:
        shutil.copy(picture, pictures)

    def console(*arguments: str | Path) -> str:
        answer = bare_console("--home", tmp_path / "home", *arguments)
        return answer.out if answer.code == 0 else answer.refused(5)

    console("model", "add", "yolov5s", shared_data / "models" / "yolov5s.onnx")
    said = ("--labels", shared_data / "coco128_labels.json", "--task", "detection", "--preprocess", "letterbox:640")
    assert "8 pictures" in console(
        "sample", "add", "yolov5s", "coco8", pictures, *said, "--require", "ap50 >= reference - 1.0"
    )
    assert console("build", "yolov5s", "--int8").startswith("the gate rejects yolov5s@1 (int8): ap50 0.0 < ")
