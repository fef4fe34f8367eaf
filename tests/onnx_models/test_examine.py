"""The facts that reading a model tells."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_models.forms import adding, branching, load, model_of, move_outside, point_outside, save
from trtreg.core.model import ModelFacts
from trtreg.core.records import from_json, to_json
from trtreg.errors import NotFound, UnusableModel, UsageError
from trtreg.onnx_models.digest import model_digest
from trtreg.onnx_models.examine import examine

PRECISIONS = {
    "models/magika_v3_2": "fp32",
    "models/mnist-8": "fp32",
    "models/squeezenet_fp16": "fp16",
    "models/tiny_bert_random": "fp32",
    "models/yolov5n": "fp32",
    "tricky/matmul.bf16": "bf16",
    "tricky/qdq_conv": "int8",
    "tricky/nonzero": "fp32",
}


@pytest.mark.data
def test_the_facts_of_yolov5s_are_what_its_makers_say(shared_data: Path) -> None:
    facts = examine(shared_data / "models" / "yolov5s.onnx")
    assert [str(port) for port in facts.signature.inputs] == ["images: float32[1x3x640x640]"]
    assert [str(port) for port in facts.signature.outputs] == ["output: float32[1x25200x85]"]
    assert facts.parameters == 7_225_885
    assert facts.opset == 12
    assert facts.operators["Conv"] == 60
    assert facts.producer.startswith("pytorch")
    assert facts.source.entry == "yolov5s.onnx"


@pytest.mark.data
@pytest.mark.parametrize("folder", ["models", "tricky"])
def test_every_real_and_every_tricky_model_has_facts_that_can_be_written_down(folder: str, shared_data: Path) -> None:
    for path in sorted((shared_data / folder).glob("*.onnx")):
        facts = examine(path)
        assert from_json(ModelFacts, to_json(facts)) == facts, path.name


@pytest.mark.data
def test_inputs_and_outputs_are_named_as_onnxruntime_names_them(shared_data: Path) -> None:
    for path in sorted((shared_data / "models").glob("*.onnx")):
        signature, session = examine(path).signature, ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        assert [port.name for port in signature.inputs] == [port.name for port in session.get_inputs()]
        assert [port.name for port in signature.outputs] == [port.name for port in session.get_outputs()]


@pytest.mark.data
@pytest.mark.parametrize("name", PRECISIONS)
def test_the_precision_of_a_model_is_recognised(name: str, shared_data: Path) -> None:
    assert examine(shared_data / f"{name}.onnx").precision == PRECISIONS[name]


@pytest.mark.data
def test_the_source_is_the_file_and_its_weights_by_their_own_digests(shared_data: Path, tmp_path: Path) -> None:
    inner = tmp_path / "deep"
    inner.mkdir()
    model = load(shared_data / "models" / "mnist-8.onnx")
    path = save(move_outside(model, tmp_path, "deep/weights.bin"), tmp_path / "given name.onnx")
    facts = examine(path)
    assert {f.name: (f.size, f.sha256) for f in facts.source.files} == {
        name: ((tmp_path / name).stat().st_size, hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
        for name in ("given name.onnx", "deep/weights.bin")
    }
    assert facts.source.entry == "given name.onnx"
    assert facts.digest == model_digest(model, tmp_path)


def test_a_file_for_every_tensor_is_fine_however_many_there_are(tmp_path: Path) -> None:
    tensors = [TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[1]) for i in range(1500)]
    for tensor in tensors:
        (tmp_path / tensor.name).write_bytes(bytes(4))
        point_outside(tensor, tensor.name)
    facts = examine(save(model_of([helper.make_node("Relu", ["x"], ["y"])], tensors), tmp_path / "m.onnx"))
    assert len(facts.source.files) == 1501


def test_initializers_that_are_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    model = adding(numpy_helper.from_array(np.ones((1, 4), np.float32), "w"))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 4]))
    assert [port.name for port in examine(save(model, tmp_path / "m.onnx")).signature.inputs] == ["x"]


def test_dimensions_are_sizes_names_or_question_marks(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])])
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT16, [0, "batch", None, 7]))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    signature = examine(save(model, tmp_path / "m.onnx")).signature
    assert signature.inputs[0].dimensions == (0, "batch", "?", 7)
    assert signature.inputs[0].dtype == "float16"
    assert signature.outputs[0].dimensions == ("...",)


def test_operators_and_weights_in_branches_are_counted(tmp_path: Path) -> None:
    facts = examine(save(branching(), tmp_path / "m.onnx"))
    assert facts.operators == {"Add": 4, "Greater": 1, "If": 1, "ReduceSum": 1, "Sub": 1}
    assert facts.parameters == 4 + 1 + 4 + 4


def test_an_operator_of_another_domain_says_whose_it_is(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")])
    assert examine(save(model, tmp_path / "m.onnx")).operators == {"com.microsoft::Gelu": 1}


@pytest.mark.parametrize(
    ("types", "precision"),
    [
        ({"w": np.float32}, "fp32"),
        ({"w": np.float16}, "fp16"),
        ({"w": np.float16, "v": np.float32}, "mixed"),
        ({"w": np.float64}, "mixed"),
        ({"w": np.int64}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_the_weights_tell_the_precision(types: dict[str, type], precision: str, tmp_path: Path) -> None:
    weights = [numpy_helper.from_array(np.zeros((1, 4), dtype), name) for name, dtype in types.items()]
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], weights)
    assert examine(save(model, tmp_path / "m.onnx")).precision == precision


def test_half_precision_weights_that_are_only_cast_to_single_are_single(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.zeros((1, 4), np.float16), "w")
    nodes = [helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT), helper.make_node("Add", ["x", "v"], ["y"])]
    assert examine(save(model_of(nodes, [weights]), tmp_path / "m.onnx")).precision == "fp32"


def test_a_few_weights_left_in_single_do_not_make_a_half_precision_model_mixed(tmp_path: Path) -> None:
    weights = [numpy_helper.from_array(np.zeros(1000, np.float16), "w")]
    weights += [numpy_helper.from_array(np.ones(4, np.float32), "scales")]
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], weights)
    assert examine(save(model, tmp_path / "m.onnx")).precision == "fp16"


def test_a_producer_cannot_move_the_cursor(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], producer_name="\x1b[2Jevil\n", producer_version="1")
    assert examine(save(model, tmp_path / "m.onnx")).producer == "?[2Jevil? 1"


def test_what_is_no_file_and_what_cannot_be_kept_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        examine(tmp_path / "absent.onnx")
    with pytest.raises(UsageError, match="folder"):
        examine(tmp_path)
    with pytest.raises(UsageError, match="file name"):
        examine(save(branching(), tmp_path / "back\\slash.onnx"))


def test_two_examinations_agree_and_a_changed_weight_does_not(tmp_path: Path) -> None:
    model = branching()
    path = save(move_outside(model, tmp_path), tmp_path / "m.onnx")
    assert examine(path) == examine(path)
    before = examine(path)
    content = bytearray((tmp_path / "weights.bin").read_bytes())
    content[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(content)
    after = examine(path)
    assert after.digest != before.digest
    assert after.source.digest != before.source.digest


def test_a_model_with_two_outputs_of_one_name_is_refused(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], outputs=["y", "y"])
    with pytest.raises(UnusableModel, match="graph output 'y' is there twice"):
        examine(save(model, tmp_path / "m.onnx"))


def test_a_model_that_onnx_saved_with_external_data_has_its_files_as_source(tmp_path: Path) -> None:
    onnx.save_model(branching(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert [f.name for f in examine(tmp_path / "m.onnx").source.files] == ["m.onnx", "w.bin"]
