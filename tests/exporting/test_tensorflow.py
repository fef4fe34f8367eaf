"""tf2onnx on programs made here. TensorFlow takes 1.7 GB to install: `make test-tensorflow` runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trtreg.core.limits import Limits
from trtreg.core.preparation import Preparation, Prepared, PrepareOrder
from trtreg.core.recipe import parse_shape
from trtreg.errors import Untrusted, UnusableModel, UsageError
from trtreg.onnx_models.examine import examine
from trtreg.testing import SilentProgress
from trtreg.workshop.supervisor import ChildWorkshop

pytestmark = pytest.mark.tensorflow

_MAKE = """
import os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

os.chdir(sys.argv[1])
keras.utils.set_random_seed(0)
images = keras.Input((16, 16, 3), name="images")
hidden = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(images)
hidden = keras.layers.BatchNormalization()(hidden)
net = keras.Model(images, keras.layers.Dense(4, name="scores")(keras.layers.GlobalAveragePooling2D()(hidden)))
net.save("net.keras")
net.export("saved", verbose=False)
converter = tf.lite.TFLiteConverter.from_keras_model(net)
open("net.tflite", "wb").write(converter.convert())
anysize = keras.Input((None, None, 3), name="images")
keras.Model(anysize, keras.layers.Conv2D(8, 3)(anysize)).save("anysize.keras")
keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2)]).save("lambda.keras")


def saved(name, function, *specs):
    module = tf.Module()
    module.weights = tf.Variable(tf.random.normal((4, 3), seed=1))
    module.call = tf.function(lambda *given: function(module.weights, *given), input_signature=specs)
    tf.saved_model.save(module, name, signatures=module.call.get_concrete_function())
    return module.call.get_concrete_function()


rows, count = tf.TensorSpec((None, 4), tf.float32, "x"), tf.TensorSpec((), tf.int32, "n")
twins = saved(
    "twins", lambda w, x, n: {"b": x @ w * tf.cast(n, tf.float32), "a": tf.reduce_sum(x, 1)}, rows, count
)
frozen = convert_variables_to_constants_v2(twins)
open("frozen.pb", "wb").write(frozen.graph.as_graph_def().SerializeToString())
saved("words", lambda w, x: {"y": tf.strings.length(x)}, tf.TensorSpec((None,), tf.string, "x"))
saved("matrix", lambda w, x: {"y": tf.linalg.eigvals(tf.matmul(x, x, transpose_a=True) )}, rows)


def reading(w, x):
    return {"y": x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)}


saved("reading", reading, rows)
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs, made in another process: TensorFlow's import isn't for this one."""
    folder = tmp_path_factory.mktemp("programs")
    made = subprocess.run([sys.executable, "-c", _MAKE, folder], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder


def _prepared(file: Path, tmp_path: Path, **wanted: object) -> Prepared:
    folder = tmp_path / "work"
    folder.mkdir(parents=True)
    order = PrepareOrder(file=file, folder=folder, preparation=Preparation(**wanted))  # type: ignore[arg-type]
    return ChildWorkshop(Limits(seconds=300, memory=8 << 30)).prepare(order, SilentProgress())


@pytest.mark.parametrize(
    ("name", "kind", "output"),
    [
        ("saved", "TensorFlow SavedModel", "output_0"),
        ("net.keras", "Keras model", "output_0"),
        ("net.tflite", "TensorFlow Lite model", "StatefulPartitionedCall"),
    ],
)
def test_each_kind_becomes_onnx_that_computes_the_same(
    name: str, kind: str, output: str, programs: Path, tmp_path: Path
) -> None:
    prepared = _prepared(programs / name, tmp_path)
    (step,) = prepared.lineage.steps
    facts = examine(prepared.path)
    (taken,), (given,) = facts.signature.inputs, facts.signature.outputs
    assert "images" in taken.name
    assert taken.dimensions[1:] == (16, 16, 3)  # Channels stay last, as they were.
    assert isinstance(taken.dimensions[0], str)  # The batch stays open.
    assert given.name.startswith(output)
    assert step.parameters == {"from": kind, "exporter": "tf2onnx", "opset": str(facts.opset)}
    assert {"keras", "tf2onnx", "onnx"} <= step.versions.keys()
    assert "the same outputs as TensorFlow's" in step.notes[-1]


def test_the_lineage_of_a_saved_model_names_all_its_files(programs: Path, tmp_path: Path) -> None:
    given = _prepared(programs / "saved", tmp_path).lineage.given
    assert given.entry == "saved/saved_model.pb"
    assert {"saved/saved_model.pb", "saved/variables/variables.index"} <= {file.name for file in given.files}


def test_the_same_program_is_the_same_model_again(programs: Path, tmp_path: Path) -> None:
    first, second = (_prepared(programs / "saved", tmp_path / again) for again in ("first", "second"))
    assert examine(first.path).digest == examine(second.path).digest


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"), [("twins", ["n", "x"], ["a", "b"]), ("frozen.pb", ["n:0", "x:0"], ["", ":0"])]
)
def test_several_inputs_and_outputs_are_compared_by_name(
    name: str, inputs: list[str], outputs: list[str], programs: Path, tmp_path: Path
) -> None:
    signature = examine(_prepared(programs / name, tmp_path).path).signature
    assert sorted(spec.name for spec in signature.inputs) == inputs
    assert len(signature.outputs) == len(outputs)
    assert {spec.dtype for spec in signature.inputs} == {"float32", "int32"}


def test_the_steps_after_exporting_are_done_too(programs: Path, tmp_path: Path) -> None:
    prepared = _prepared(
        programs / "saved", tmp_path, shapes=(parse_shape("images=4x16x16x3"),), rename=("output_0=scores",), opset=15
    )
    assert [step.name for step in prepared.lineage.steps] == ["export", "rename", "fix-shape"]
    facts = examine(prepared.path)
    assert facts.opset == 15
    assert str(facts.signature.outputs[0]) == "scores: float32[4x4]"


def test_open_sizes_ask_for_an_example(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        _prepared(programs / "anysize.keras", tmp_path / "a")
    assert "images takes ?x?x?x3" in refusal.value.message
    assert "--input images=" in refusal.value.hint
    prepared = _prepared(programs / "anysize.keras", tmp_path / "b", inputs=(parse_shape("images=1x8x9x3"),))
    assert "the same outputs as TensorFlow's" in prepared.lineage.steps[0].notes[-1]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"inputs": (parse_shape("image=1x16x16x3"),)}, "there is no input image"),
        ({"inputs": (parse_shape("images=1x16x16x4"),)}, "doesn't run with images=1x16x16x4"),
        ({"inputs": (parse_shape("images=1x16x16x3"),), "dtypes": {"images": "int8"}}, "knows its inputs' types"),
    ],
)
def test_an_example_that_does_not_fit_is_told(
    wanted: dict[str, object], words: str, programs: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refusal:
        _prepared(programs / "saved", tmp_path, **wanted)
    assert words in refusal.value.message


@pytest.mark.parametrize(("name", "words"), [("words", "takes string"), ("matrix", "Eig")])
def test_what_onnx_lacks_is_told(name: str, words: str, programs: Path, tmp_path: Path) -> None:
    with pytest.raises(UnusableModel) as refusal:
        _prepared(programs / name, tmp_path)
    assert words in refusal.value.message


def test_an_opset_that_there_is_not_is_told(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(UnusableModel) as refusal:
        _prepared(programs / "saved", tmp_path, opset=99)
    assert "opset 99" in refusal.value.message


@pytest.mark.parametrize(("name", "words"), [("lambda.keras", "Lambda"), ("reading", "ReadFile")])
def test_what_would_run_code_or_reads_files_asks_for_the_flag(
    name: str, words: str, programs: Path, tmp_path: Path
) -> None:
    with pytest.raises(Untrusted) as refusal:
        _prepared(programs / name, tmp_path)
    assert words in refusal.value.message


def test_trusted_code_in_a_keras_file_is_exported(programs: Path, tmp_path: Path) -> None:
    prepared = _prepared(programs / "lambda.keras", tmp_path, unsafe_code=True)
    assert "the same outputs as TensorFlow's" in prepared.lineage.steps[0].notes[-1]
