from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx_models.rewriting import error, rewritten, run
from trtreg.errors import UsageError
from trtreg.onnx_models.synthesis import write_yolov5

PICTURE = {"images": np.random.default_rng(0).random((1, 3, 128, 128), dtype=np.float32)}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthesis") / "n.onnx"
    write_yolov5(path, variant="n", image_size=128)
    return path


@pytest.mark.parametrize(("variant", "weights"), [("n", 1_867_405), ("s", 7_225_885)])
def test_it_has_the_published_number_of_weights(variant: str, weights: int, tmp_path: Path) -> None:
    write_yolov5(tmp_path / "m.onnx", variant=variant)
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    trained = [t for t in model.graph.initializer if t.name.endswith((".weight", ".bias"))]
    assert sum(math.prod(t.dims) for t in trained) == weights
    shapes = [[d.dim_value for d in p.type.tensor_type.shape.dim] for p in (*model.graph.input, *model.graph.output)]
    assert shapes == [[1, 3, 640, 640], [1, 25200, 85]]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(small: Path, tmp_path: Path) -> None:
    for seed, same in ((0, True), (1, False)):
        write_yolov5(tmp_path / "m.onnx", variant="n", image_size=128, seed=seed)
        assert ((tmp_path / "m.onnx").read_bytes() == small.read_bytes()) is same


def test_its_outputs_are_spread_like_a_detectors(small: Path) -> None:
    rows = run(small, PICTURE)[0][0]
    objectness, boxes = rows[:, 4], rows[:, :4]
    assert np.isfinite(rows).all()
    assert objectness.max() < 0.999
    assert 10 * objectness.min() < objectness.mean() < objectness.max() / 10
    assert boxes[:, 2:].min() > 0
    assert np.abs(boxes[:, :2]).max() < 2 * 128


def test_its_outputs_depend_on_the_picture(small: Path) -> None:
    other = {"images": PICTURE["images"][..., ::-1].copy()}
    assert error(run(small, other)[0][..., 4], run(small, PICTURE)[0][..., 4]) > 0.1


def test_its_fp16_agrees_with_fp32(small: Path, tmp_path: Path) -> None:
    half = rewritten(small, tmp_path).path
    found, wanted = run(half, PICTURE)[0], run(small, PICTURE)[0]
    for columns in (slice(0, 4), slice(4, 5), slice(5, 85)):
        assert error(found[..., columns], wanted[..., columns]) <= 1e-2


def test_its_head_is_named_as_in_the_published_exports(small: Path) -> None:
    names = [n.name for n in onnx.load(small).graph.node]
    assert len(set(names)) == len(names)
    assert sum(name.startswith("/model.24/") for name in names) > 20


@pytest.mark.parametrize(("arguments", "message"), [({"variant": "z"}, "no YOLOv5 'z'"), ({"image_size": 100}, "100")])
def test_what_cannot_be_is_refused(arguments: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        write_yolov5(tmp_path / "m.onnx", **arguments)  # type: ignore[arg-type]
