"""Reading files of strangers: a sound model, or one line that says why not; nothing outside its folder is opened."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import FunctionProto, ModelProto, TensorProto, checker, helper, numpy_helper

from onnx_models.forms import adding, branching, copy_of, model_of, move_outside, point_outside, save, shuffled
from trtreg.errors import NotFound, UnusableModel, UsageError
from trtreg.onnx_models.examine import examine
from trtreg.onnx_models.graph_check import sort_nodes
from trtreg.onnx_models.reading import MOST_BYTES, open_model

REFUSED = {
    "cycle.onnx": "cycle: Add → 'a'",
    "ext_absolute.onnx": "'/etc/passwd', outside the model's folder",
    "ext_dotdot.onnx": "'../../../../../../../../etc/passwd', outside the model's folder",
    "lfs_pointer_yolov5s.onnx": "Git LFS pointer",
    "raw_data_short.onnx": "raw_data has 7 bytes, while float32[1, 4] takes 16",
    "truncated_60pc.onnx": "15872 bytes aren't an ONNX model, or not a whole one",
    "zero_bytes.onnx": "empty file",
}


def refusal(path: Path) -> UnusableModel:
    """The error that the file is refused with: exit code 8, its name, one line, a hint."""
    with pytest.raises(UnusableModel) as caught:
        open_model(path)
    error = caught.value
    assert error.exit_code == 8
    assert error.hint
    assert len(error.message) < 300
    assert error.message.isprintable()
    assert error.message.startswith(path.name) or path.name in error.message
    return error


def relu(**fields: object) -> ModelProto:
    return model_of([helper.make_node("Relu", ["x"], ["y"])], **fields)


# --- the files we were warned of ---------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_file_is_refused_in_one_line_with_the_values(name: str, shared_data: Path) -> None:
    assert REFUSED[name] in refusal(shared_data / "hostile" / name).message


@pytest.mark.data
def test_the_hostile_files_are_the_ones_that_we_know(shared_data: Path) -> None:
    assert {path.name for path in (shared_data / "hostile").iterdir()} == {*REFUSED, "nan_weights.onnx"}


@pytest.mark.data
def test_nan_weights_can_be_read_for_the_gate_is_to_reject_them(shared_data: Path) -> None:
    assert open_model(shared_data / "hostile" / "nan_weights.onnx").graph.node


@pytest.mark.data
@pytest.mark.parametrize("folder", ["models", "tricky"])
def test_every_real_and_every_tricky_model_can_be_read(folder: str, shared_data: Path) -> None:
    for path in sorted((shared_data / folder).glob("*.onnx")):
        assert open_model(path).HasField("graph"), path.name


def test_a_pointer_says_how_to_get_the_file(tmp_path: Path) -> None:
    pointer = tmp_path / "m.onnx"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert refusal(pointer).hint == "run: git lfs pull"


def test_what_is_not_there_and_what_is_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        open_model(tmp_path / "absent.onnx")
    with pytest.raises(UsageError, match="is a folder"):
        open_model(tmp_path)


def test_a_pipe_does_not_keep_us_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    assert "a pipe, a socket or a device" in refusal(tmp_path / "m.onnx").message


@pytest.mark.parametrize("content", [b"hello world", b"\x0a\x00", b"*\x00", b"ftrt" + bytes(60), b"PK\x03\x04", b"0"])
def test_bytes_that_are_no_model_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    assert "ONNX model" in refusal(tmp_path / "m.onnx").message


def test_a_file_beyond_the_limit_of_protobuf_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "m.onnx").open("wb") as file:
        file.write(b"\x08\x08")
        file.truncate(MOST_BYTES + 1)
    assert "protobuf reads at most" in refusal(tmp_path / "m.onnx").message


# --- external data -----------------------------------------------------------------------------------------


def outside(location: str, **numbers: object) -> ModelProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 4])
    point_outside(tensor, location, **numbers)
    return adding(tensor)


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret", "a/../../secret", "", ".", "a\\..\\secret", "//etc/passwd", "w\x1b[2J\n/../x"],
)
def test_a_location_that_leads_outside_is_refused(location: str, tmp_path: Path) -> None:
    assert "outside the model's folder" in refusal(save(outside(location), tmp_path / "m.onnx")).message


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.bin").symlink_to("../secret")
    (folder / "inner").symlink_to(tmp_path)
    for location in ("w.bin", "inner/secret"):
        assert "link out of the model's folder" in refusal(save(outside(location), folder / "m.onnx")).message


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "real.bin").write_bytes(bytes(16))
    (tmp_path / "w.bin").symlink_to("deep/real.bin")
    assert open_model(save(outside("w.bin", offset=0, length=16), tmp_path / "m.onnx"))


def test_a_model_named_through_a_linked_folder_finds_its_weights(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "w.bin").write_bytes(bytes(16))
    save(outside("w.bin"), tmp_path / "real" / "m.onnx")
    (tmp_path / "linked").symlink_to("real")
    assert open_model(tmp_path / "linked" / "m.onnx")


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"offset": 8}, "has 16 bytes, a tensor wants 16 at 8"),
        ({"offset": 1 << 60}, "a tensor wants 16 at 1152921504606846976"),
        ({"offset": -1}, "offset of its external data is '-1'"),
        ({"offset": "9" * 5000}, "offset of its external data is '999"),
        ({"length": "0x10"}, "length of its external data is '0x10'"),
        ({"length": "١٦"}, "length of its external data is"),
        ({"length": 12}, "has 12 bytes, its shape takes 16"),
    ],
)
def test_a_range_that_the_file_does_not_have_is_refused(numbers: dict[str, object], words: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    assert words in refusal(save(outside("w.bin", **numbers), tmp_path / "m.onnx")).message


def test_a_weights_file_that_is_absent_a_folder_or_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for location, words in (("absent", "isn't there"), ("folder", "no file"), ("pipe", "no file")):
        assert words in refusal(save(outside(location), tmp_path / "m.onnx")).message


def test_weights_that_are_a_git_lfs_pointer_say_so(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    error = refusal(save(outside("w.bin", offset=64), tmp_path / "m.onnx"))
    assert "Git LFS pointer" in error.message
    assert error.hint == "run: git lfs pull"


def test_a_thousand_tensors_over_one_small_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(1016))
    tensors = [TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[1, 4]) for i in range(1000)]
    for place, tensor in enumerate(tensors):
        point_outside(tensor, "w.bin", offset=place)
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], tensors)
    assert "tensors overlap in 'w.bin'" in refusal(save(model, tmp_path / "m.onnx")).message


def test_external_data_in_the_attribute_of_a_branch_is_checked(tmp_path: Path) -> None:
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1])
    point_outside(tensor, "../secret")
    model = branching()
    model.graph.node[3].attribute[1].g.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))
    assert "outside the model's folder" in refusal(save(model, tmp_path / "m.onnx")).message


@pytest.mark.data
def test_no_file_outside_the_folder_is_opened_whatever_a_model_says(shared_data: Path, tmp_path: Path) -> None:
    folder, secret = tmp_path / "models", tmp_path / "secret.bin"
    folder.mkdir()
    secret.write_bytes(bytes(16))
    for path in (shared_data / "hostile").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "link.bin").symlink_to(secret)
    for place, location in enumerate(("link.bin", str(secret), "../secret.bin", f"x/../../{secret.name}")):
        save(outside(location), folder / f"m{place}.onnx")
    watched = subprocess.run(
        [sys.executable, "-c", _WATCHING, str(folder)], capture_output=True, text=True, check=True, timeout=120
    )
    opened = json.loads(watched.stdout)
    assert len(opened) > 5
    assert [path for path in opened if Path(os.path.realpath(path)).parent != folder.resolve()] == []


_WATCHING = """
import json, pathlib, sys
from trtreg.errors import TrtregError
from trtreg.onnx_models.examine import examine
from trtreg.onnx_models.inspection import inspect_file

opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    for look in (examine, inspect_file):
        try:
            look(path)
        except TrtregError:
            pass
# What Python itself reads for its modules and tracebacks is no business of the models.
print(json.dumps([p for p in opened if not p.endswith((".py", ".pyc", ".so")) and "__pycache__" not in p]))
"""


# --- graphs ------------------------------------------------------------------------------------------------


def _undefined_input() -> ModelProto:
    return model_of([helper.make_node("Add", ["x", "nobody"], ["y"], name="sum")])


def _undefined_output() -> ModelProto:
    return model_of([helper.make_node("Relu", ["x"], ["z"])])


def _made_twice() -> ModelProto:
    return model_of([helper.make_node(operator, ["x"], ["y"]) for operator in ("Relu", "Neg")])


def _made_over_an_input() -> ModelProto:
    return model_of([helper.make_node("Relu", ["y"], ["x"]), helper.make_node("Relu", ["x"], ["y"])])


def _initializer_twice() -> ModelProto:
    weights = numpy_helper.from_array(np.ones((1, 4), np.float32), "w")
    return model_of([helper.make_node("Add", ["x", "w"], ["y"])], [weights, weights])


def _cycle_through_a_branch() -> ModelProto:
    model = branching()
    model.graph.node[2].input[0] = "y"
    return model


def _undefined_in_a_branch() -> ModelProto:
    model = branching()
    model.graph.node[3].attribute[0].g.node[0].input[1] = "elsewhere"
    return model


def _function(name: str, operator: str, reads: str = "a", domain: str = "own") -> FunctionProto:
    node = helper.make_node(operator, [reads], ["b"], domain=domain)
    return helper.make_function("own", name, ["a"], ["b"], [node], [helper.make_opsetid("", 17)])


def _functions_that_call_each_other() -> ModelProto:
    return relu(functions=[_function("f", "g"), _function("g", "f")])


def _function_that_reads_the_graph() -> ModelProto:
    return relu(functions=[_function("f", "Relu", reads="x", domain="")])


def _no_output() -> ModelProto:
    return model_of([helper.make_node("Relu", ["x"], ["y"])], outputs=[])


def _no_operator_set() -> ModelProto:
    model = relu()
    del model.opset_import[:]
    return model


def _name_that_is_not_text() -> ModelProto:
    return ModelProto.FromString(relu().SerializeToString().replace(b"\x0a\x01x\x12", b"\x0a\x01\xff\x12"))


def _elements_stored_twice() -> ModelProto:
    return adding(TensorProto(name="w", data_type=1, dims=[1], raw_data=bytes(4), float_data=[0]))


def _elements_in_a_foreign_field() -> ModelProto:
    return adding(TensorProto(name="w", data_type=1, dims=[1], int64_data=[0]))


def _giant() -> ModelProto:
    return adding(TensorProto(name="w", data_type=1, dims=[1 << 40, 1 << 20], raw_data=bytes(4)))


def _endless() -> ModelProto:
    return adding(TensorProto(name="w", data_type=1, dims=[(1 << 62) + 1] * 200_000, raw_data=bytes(4)))


def _negative() -> ModelProto:
    return adding(TensorProto(name="w", data_type=1, dims=[-1, 4], raw_data=bytes(4)))


def _unknown_type() -> ModelProto:
    return adding(TensorProto(name="w", data_type=99, dims=[1], raw_data=bytes(4)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_undefined_input, "Add 'sum' reads 'nobody', which nothing makes"),
        (_undefined_output, "the graph's output reads 'y', which nothing makes"),
        (_made_twice, "'y' is made twice"),
        (_made_over_an_input, "'x' is made twice"),
        (_initializer_twice, "initializer 'w' is there twice"),
        (_cycle_through_a_branch, "cycle"),
        (_undefined_in_a_branch, "If → 'y' reads 'elsewhere', which nothing makes"),
        (_functions_that_call_each_other, "calls itself"),
        (_function_that_reads_the_graph, "reads 'x', which nothing makes"),
        (_no_output, "no output"),
        (_no_operator_set, "no operator set"),
        (_name_that_is_not_text, "isn't UTF-8"),
        (_elements_stored_twice, "raw_data and float_data"),
        (_elements_in_a_foreign_field, "float32 elements can't lie in int64_data"),
        (_giant, "raw_data has 4 bytes, while float32[1099511627776, 1048576] takes 4611686018427387904"),
        (_endless, "more than 2^62 elements"),
        (_negative, "(-1, 4)"),
        (_unknown_type, "element type 99 isn't known"),
    ],
)
def test_a_malformed_model_is_refused_with_the_name_of_what_is_wrong(
    make: Callable[[], ModelProto], words: str, tmp_path: Path
) -> None:
    assert words in refusal(save(make(), tmp_path / "m.onnx")).message


def test_subgraphs_nested_without_end_are_refused(tmp_path: Path) -> None:
    graph = b""
    for _ in range(2000):
        for field in (6, 5, 1):  # an attribute's graph, a node's attribute, a graph's node
            graph = bytes([field << 3 | 2]) + _varint(len(graph)) + graph
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x3a" + _varint(len(graph)) + graph)
    assert "nested deeper" in refusal(tmp_path / "m.onnx").message


def test_a_branch_may_use_a_name_again_that_its_sister_uses(tmp_path: Path) -> None:
    assert open_model(save(branching(), tmp_path / "m.onnx"))


def test_a_long_name_does_not_fill_the_screen(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Add", ["x", "\x1b[31m" + "n" * 9999], ["y"])])
    assert "…" in refusal(save(model, tmp_path / "m.onnx")).message


# --- order of nodes ----------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_nodes_in_any_order_are_read_and_can_be_sorted_for_onnxruntime(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = open_model(save(shuffled(branching(), seed), tmp_path_factory.getbasetemp() / "shuffled.onnx"))
    sort_nodes(model)
    checker.check_model(model)
    sums = [_run(version, np.ones((1, 4), np.float32)) for version in (model, branching())]
    np.testing.assert_array_equal(*sums)


@pytest.mark.data
def test_a_real_model_with_branches_runs_again_once_its_nodes_are_sorted(shared_data: Path) -> None:
    model = shuffled(open_model(shared_data / "models" / "silero_vad_16k_op15.onnx"), seed=1)
    sort_nodes(model)
    checker.check_model(model)
    ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_sorting_leaves_a_sorted_model_as_it_is() -> None:
    model = branching()
    sort_nodes(model)
    assert model.SerializeToString() == branching().SerializeToString()


def _run(model: ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": x})[0])


# --- limits ------------------------------------------------------------------------------------------------


def test_small_files_that_claim_giants_are_refused_in_little_memory(tmp_path: Path) -> None:
    for make in (_giant, _endless):
        save(make(), tmp_path / f"{make.__name__}.onnx")
    save(outside("w.bin", length=1 << 40), tmp_path / "length.onnx")
    (tmp_path / "w.bin").write_bytes(bytes(16))
    for name, content in {
        "prefix": b"\xff\xff\xff\x00" + b'{"a": 1}',
        "safetensors": b"\xff\xff\xff\xff\x00\x00\x00\x00" + b'{"a": 1}',
        "deep": b"\xff\xff\x0f\x00" + b'{"a":' + b"[" * 1_000_000,
    }.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
    measured = subprocess.run(
        [sys.executable, "-c", _MEASURING, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert measured.stdout.split() == ["refused"] * 6


_MEASURING = f"""
import pathlib, resource, sys
import onnx
from trtreg.errors import UnusableModel
from trtreg.onnx_models.examine import examine
from trtreg.onnx_models.inspection import inspect_file

used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * {resource.getpagesize()}
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, -1))
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    assert inspect_file(path).problem, path
    try:
        examine(path)
    except UnusableModel:
        print("refused")
"""


def refusal_of(path: Path) -> str:
    """What a damaged model is refused with; empty if the damage didn't matter."""
    try:
        examine(path)
    except UnusableModel as error:
        return error.message
    return ""


@given(data=st.data())
@settings(max_examples=60)
def test_no_damage_leads_to_anything_but_a_refusal(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    model = move_outside(branching(), folder) if data.draw(st.booleans()) else branching()
    content = bytearray(model.SerializeToString())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = folder / "m.onnx"
    path.write_bytes(content)
    assert refusal_of(path).isprintable()


@pytest.mark.data
def test_no_random_byte_in_a_real_model_leads_to_a_traceback(shared_data: Path, tmp_path: Path) -> None:
    draw = random.Random(5)
    for source in ("tricky/loop", "tricky/qdq_conv", "tricky/test_if_seq", "tricky/unbounded_dds"):
        content = (shared_data / f"{source}.onnx").read_bytes()
        for _ in range(60):
            damaged = bytearray(content)
            for _ in range(draw.randint(1, 4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            (tmp_path / "m.onnx").write_bytes(damaged)
            assert refusal_of(tmp_path / "m.onnx").isprintable()


def test_a_model_over_2_gib_is_read_without_its_weights(tmp_path: Path) -> None:
    size = 3 << 30
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[size // 4])
    point_outside(tensor, "w.bin", offset=0, length=size)
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(size)  # a hole: it takes no space
    assert open_model(save(adding(tensor), tmp_path / "m.onnx")).graph.initializer[0].dims == [size // 4]


def test_reading_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = branching()
    read = open_model(save(model, tmp_path / "m.onnx"))
    assert read == model
    assert copy_of(read) == model


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
