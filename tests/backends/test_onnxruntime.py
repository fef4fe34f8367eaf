"""Plans of ONNX Runtime: they answer as their model does, come out the same twice, and refuse what isn't theirs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtreg.backends import backend
from trtreg.backends.onnxruntime import CUDA_PLAN, CUDA_PLAN_WITHOUT_TF32, OnnxRuntime
from trtreg.core.builder_settings import BuilderSettings
from trtreg.core.recipe import Precision, Recipe
from trtreg.core.signature import Signature, TensorSpec
from trtreg.core.target import Target
from trtreg.errors import BuildFailed, Untrusted, UnusableModel, UsageError

HERE = Target(
    runtime="onnxruntime",
    runtime_version=onnxruntime.__version__,
    architecture="x86_64",
    platform="linux-x86_64",
    layout="of this machine",
)
WITHOUT_TF32 = Recipe(builder=BuilderSettings(tf32=False))
MODELS = [
    *("magika_v3_2", "mnist-8", "needs_constraints", "silero_vad_16k_op15", "squeezenet_fp16"),
    *("super_resolution", "tiny_bert_random", "yolov5n", "yolov5s"),
]


def build(model: Path, folder: Path, recipe: Recipe = Recipe()) -> Path:  # noqa: B008 - a frozen value
    folder.mkdir(parents=True, exist_ok=True)
    return folder / OnnxRuntime().build(model, recipe, HERE, folder)


def written(path: Path, nodes: list[onnx.NodeProto], x: int, y: int, weights: list[onnx.TensorProto] | None = None):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", x, [2, "n"])],
        [helper.make_tensor_value_info("y", y, None)],
        weights or [],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture
def doubling(tmp_path: Path) -> Path:
    """A plan that takes x: float32[2xn] and gives x + x."""
    model = written(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "x"], ["y"])], TensorProto.FLOAT, 1)
    return build(model, tmp_path / "plan")


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def sample_inputs(shared_data: Path, name: str) -> dict[str, np.ndarray]:
    """The first case of the model's sample; a YOLO, which has none, gets noise."""
    if name.startswith("yolo"):
        size = 640 if name == "yolov5s" else 96
        return {"images": np.random.default_rng(7).random((1, 3, size, size), np.float32)}
    with np.load(shared_data / "samples" / f"{name}.npz") as sample:
        return {k.removeprefix("case0/in/"): sample[k] for k in sample.files if k.startswith("case0/in/")}


def any_inputs(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    """Ones, of the shapes and types that a small model takes."""
    dtypes = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(int32)": "int32"}
    return {a.name: np.ones(a.shape, dtypes[a.type]) for a in session.get_inputs()}


@pytest.mark.data
@pytest.mark.parametrize("name", MODELS)
def test_a_plan_answers_as_its_model_does(name: str, shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "models" / f"{name}.onnx"
    reference = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = sample_inputs(shared_data, name)

    outputs = OnnxRuntime().load(build(model, tmp_path)).run(inputs)

    expected = dict(zip((o.name for o in reference.get_outputs()), reference.run(None, inputs), strict=True))
    assert list(outputs) == list(expected)
    for output, value in expected.items():
        assert outputs[output].dtype == value.dtype
        np.testing.assert_allclose(outputs[output], value, rtol=1e-4, atol=1e-5)


@pytest.mark.data
@pytest.mark.parametrize("name", ["ext_weights", "loop", "multi_output", "nonzero", "qdq_conv", "unbounded_dds"])
def test_an_odd_model_makes_a_plan_that_answers_as_it_does(name: str, shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "tricky" / f"{name}.onnx"
    reference = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = any_inputs(reference)

    outputs = OnnxRuntime().load(build(model, tmp_path)).run(inputs)

    for value, expected in zip(outputs.values(), reference.run(None, inputs), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.data
@pytest.mark.parametrize("name", ["yolov5n", "silero_vad_16k_op15"])
def test_builds_in_two_processes_give_the_same_bytes(name: str, shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "models" / f"{name}.onnx"
    once, again = tmp_path / "once", tmp_path / "again"
    build(model, once)
    again.mkdir()
    code = (
        "import sys; from pathlib import Path; from trtreg.backends import backend; "
        "from trtreg.core.recipe import Recipe; from trtreg.core.target import Target; "
        f"backend('onnxruntime').build(Path(sys.argv[1]), Recipe(), {HERE!r}, Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, str(model), str(again)], check=True)
    assert digests(once) == digests(again)


@pytest.mark.parametrize("name", ["light_inception_v2", "light_densenet121"])
def test_many_reordered_outputs_come_in_one_order(name: str, tmp_path: Path) -> None:
    model = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"{name}.onnx"
    if not model.exists():
        pytest.skip(f"this onnx package comes without {name}")
    build(model, tmp_path / "once")
    build(model, tmp_path / "again")
    assert digests(tmp_path / "once") == digests(tmp_path / "again")


@pytest.mark.data
def test_a_plan_says_nothing_of_the_folder_it_was_built_in(shared_data: Path, tmp_path: Path) -> None:
    plan = build(shared_data / "models" / "yolov5n.onnx", tmp_path)
    for path in plan.parent.iterdir():
        assert os.fsencode(tmp_path) not in path.read_bytes()
        assert os.fsencode(shared_data) not in path.read_bytes()


@pytest.mark.data
def test_a_plan_moves_to_another_folder(shared_data: Path, tmp_path: Path) -> None:
    plan = build(shared_data / "models" / "mnist-8.onnx", tmp_path / "here")
    plan.parent.rename(tmp_path / "there")
    session = OnnxRuntime().load(tmp_path / "there" / plan.name)
    assert session.run({"Input3": np.zeros((1, 1, 28, 28), np.float32)})


@pytest.mark.data
def test_large_weights_lie_beside_the_plan(shared_data: Path, tmp_path: Path) -> None:
    build(shared_data / "models" / "mnist-8.onnx", tmp_path)
    assert sorted(digests(tmp_path)) == ["engine.onnx", "engine.onnx.data"]


def test_a_model_without_large_weights_makes_a_plan_of_one_file(doubling: Path) -> None:
    assert list(digests(doubling.parent)) == ["engine.onnx"]


@pytest.mark.data
def test_external_weights_of_the_model_come_into_the_plan(shared_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    model = onnx.load(shared_data / "models" / "mnist-8.onnx")
    onnx.save(model, source / "m.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    plan = build(source / "m.onnx", tmp_path / "plan")
    source.rename(tmp_path / "gone")
    image = np.random.default_rng(1).normal(size=(1, 1, 28, 28)).astype(np.float32)
    reference = onnxruntime.InferenceSession(shared_data / "models" / "mnist-8.onnx")
    np.testing.assert_allclose(
        OnnxRuntime().load(plan).run({"Input3": image})["Plus214_Output_0"],
        reference.run(None, {"Input3": image})[0],
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_body_that_reads_outer_values_runs_after_them(tmp_path: Path) -> None:
    def branch(name: str, operator: str) -> onnx.GraphProto:
        node = helper.make_node(operator, ["outer", "outer"], [name])
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("Exp", ["x"], ["e"]),
        helper.make_node("Sin", ["e"], ["s"]),
        helper.make_node("Cos", ["s"], ["outer"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=branch("a", "Add"), else_branch=branch("b", "Mul")),
    ]
    zero = numpy_helper.from_array(np.float32(0), "zero")
    model = written(tmp_path / "m.onnx", nodes, TensorProto.FLOAT, TensorProto.FLOAT, [zero])
    plan = build(model, tmp_path / "plan")
    onnx.checker.check_model(onnx.load(plan))
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(OnnxRuntime().load(plan).run({"x": x})["y"], 2 * np.cos(np.sin(np.exp(x))), rtol=1e-5)


def test_a_signature_is_what_onnx_runtime_says_of_the_plan(doubling: Path) -> None:
    session = OnnxRuntime().load(doubling)
    spec = TensorSpec("x", "float32", (2, "n"))
    assert session.signature == Signature((spec,), (TensorSpec("y", "float32", (2, "n")),))


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({}, "no value for the input x"),
        ({"x": np.zeros((2, 1), np.float32), "z": np.zeros(1)}, "the plan has no input z"),
        ({"x": np.zeros((2, 1))}, "the plan takes x: float32[2xn], and was given x: float64[2x1]"),
        ({"x": np.zeros((3, 1), np.float32)}, "the plan takes x: float32[2xn], and was given x: float32[3x1]"),
        ({"x": np.zeros(2, np.float32)}, "the plan takes x: float32[2xn], and was given x: float32[2]"),
        ({"x": np.array([["a"], ["b"]])}, "the plan takes x: float32[2xn], and was given x: string[2x1]"),
    ],
)
def test_inputs_that_the_plan_does_not_take_are_refused(inputs, complaint: str, doubling: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        OnnxRuntime().load(doubling).run(inputs)
    assert refusal.value.message == complaint
    assert refusal.value.hint == "it takes x: float32[2xn]"


def test_values_that_the_plan_fails_on_are_refused_in_one_line(tmp_path: Path) -> None:
    table = numpy_helper.from_array(np.zeros((4, 2), np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    plan = build(written(tmp_path / "m.onnx", nodes, TensorProto.INT64, 1, [table]), tmp_path / "plan")
    with pytest.raises(UsageError, match=r"fails on these inputs: .*out of data bounds, idx=9") as refusal:
        OnnxRuntime().load(plan).run({"x": np.full((2, 1), 9)})
    assert "\n" not in refusal.value.message


def test_arrays_of_any_memory_order_are_taken(doubling: Path) -> None:
    across = np.arange(6, dtype=np.float32).reshape(3, 2).T
    assert (OnnxRuntime().load(doubling).run({"x": across})["y"] == across * 2).all()


def test_strings_go_in_and_out(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    plan = build(written(tmp_path / "m.onnx", nodes, TensorProto.STRING, TensorProto.STRING), tmp_path / "plan")
    session = OnnxRuntime().load(plan)
    assert session.signature.inputs[0].dtype == "string"
    assert session.run({"x": np.array([["a"], ["b"]])})["y"].tolist() == [["a"], ["b"]]


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
@pytest.mark.data
def test_a_truncated_plan_is_not_trusted(keep: float, shared_data: Path, tmp_path: Path) -> None:
    plan = build(shared_data / "models" / "mnist-8.onnx", tmp_path)
    whole = plan.read_bytes()
    plan.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    with pytest.raises(Untrusted, match=r"engine\.onnx is no plan of the onnxruntime backend"):
        OnnxRuntime().load(plan)


@pytest.mark.data
def test_a_plan_with_half_its_weights_is_not_trusted(shared_data: Path, tmp_path: Path) -> None:
    plan = build(shared_data / "models" / "mnist-8.onnx", tmp_path)
    weights = plan.with_name("engine.onnx.data")
    os.truncate(weights, weights.stat().st_size // 2)
    with pytest.raises(Untrusted, match="out of bounds"):
        OnnxRuntime().load(plan)
    weights.unlink()
    with pytest.raises(Untrusted, match="does not exist"):
        OnnxRuntime().load(plan)


@pytest.mark.parametrize("content", [b"", b"hello world", b"ftrt" + bytes(60), bytes(1000), b"\x08\x08" * 500])
def test_garbage_is_not_trusted(content: bytes, tmp_path: Path) -> None:
    plan = tmp_path / "engine.onnx"
    plan.write_bytes(content)
    with pytest.raises(Untrusted):
        OnnxRuntime().load(plan)


@pytest.mark.parametrize("name", ["engine.onnx", "."])
def test_a_plan_that_is_no_file_is_not_trusted(name: str, tmp_path: Path) -> None:
    with pytest.raises(Untrusted):
        OnnxRuntime().load(tmp_path / name)


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        *("hostile/cycle", "hostile/ext_absolute", "hostile/ext_dotdot", "hostile/lfs_pointer_yolov5s"),
        *("hostile/raw_data_short", "hostile/truncated_60pc", "hostile/zero_bytes", "tricky/matmul.bf16"),
        *("tricky/bad_graph_with_duplicate_node_names", "tricky/bert_tokenizer_ext", "tricky/custom_op_node"),
        "tricky/test_if_seq",
    ],
)
def test_a_model_that_cannot_run_is_refused_in_one_line(
    name: str, shared_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnusableModel) as refusal:
        build(shared_data / f"{name}.onnx", tmp_path)
    assert "\n" not in refusal.value.message
    assert "onnxruntime_src" not in refusal.value.message
    assert refusal.value.hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.data
def test_a_build_is_silent(shared_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build(shared_data / "models" / "yolov5n.onnx", tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.data
def test_bf16_that_no_cpu_kernel_computes_fails_with_the_way_out(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"in bf16: Could not find an implementation for MatMul") as failure:
        build(shared_data / "tricky" / "matmul.bf16.onnx", tmp_path, Recipe(precision=Precision.BF16))
    assert "--fp16" in failure.value.hint
    assert "tensorrt" in failure.value.hint


def test_types_that_numpy_lacks_do_not_come_out_of_a_plan(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)]
    model = written(tmp_path / "m.onnx", nodes, TensorProto.FLOAT, TensorProto.BFLOAT16)
    with pytest.raises(UnusableModel, match=r"y is a tensor\(bfloat16\)"):
        build(model, tmp_path / "a")
    with pytest.raises(BuildFailed, match=r"y is a tensor\(bfloat16\)"):
        build(model, tmp_path / "b", Recipe(precision=Precision.BF16, keep_io_types=False))
    with pytest.raises(Untrusted, match=r"y is a tensor\(bfloat16\)"):
        OnnxRuntime().load(model)


def test_an_operator_of_a_custom_domain_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example")]
    model = written(tmp_path / "m.onnx", nodes, TensorProto.FLOAT, TensorProto.FLOAT)
    with pytest.raises(UnusableModel, match=r"com\.example:Frobnicate"):
        build(model, tmp_path / "plan", Recipe(precision=Precision.FP16))


def test_a_folder_that_cannot_be_written_fails_the_build(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    model = written(tmp_path / "m.onnx", nodes, TensorProto.FLOAT, TensorProto.FLOAT)
    with pytest.raises(BuildFailed, match="could not write the plan"):
        OnnxRuntime().build(model, Recipe(), HERE, tmp_path / "absent")


@pytest.mark.parametrize("change", [{"runtime_version": "0.1"}, {"runtime": "tensorrt"}])
def test_a_plan_for_another_runtime_is_not_built(change: dict[str, str], tmp_path: Path) -> None:
    elsewhere = replace(HERE, **change)
    with pytest.raises(BuildFailed, match="can't build for"):
        OnnxRuntime().build(tmp_path / "m.onnx", Recipe(), elsewhere, tmp_path)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this one has CUDA")
def test_a_gpu_plan_is_refused_where_there_is_no_cuda(doubling: Path, tmp_path: Path) -> None:
    for name in (CUDA_PLAN, CUDA_PLAN_WITHOUT_TF32):
        doubling = doubling.rename(doubling.with_name(name))
        with pytest.raises(UsageError, match="can't run on the GPU"):
            OnnxRuntime().load(doubling)
    for recipe in (Recipe(), WITHOUT_TF32):
        with pytest.raises(UsageError, match="can't run on the GPU"):
            OnnxRuntime().build(tmp_path / "m.onnx", recipe, replace(HERE, architecture="sm_90"), tmp_path)


@pytest.mark.parametrize("architecture", ["x86_64", "sm_75"])
def test_tf32_is_not_forbidden_where_there_is_none(architecture: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"has no use for tf32=no on {architecture}"):
        OnnxRuntime().build(tmp_path / "m.onnx", WITHOUT_TF32, replace(HERE, architecture=architecture), tmp_path)


def test_versions_name_what_takes_part_in_a_build() -> None:
    assert OnnxRuntime().versions() == {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}


def test_an_unknown_backend_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'openvino'") as refusal:
        backend("openvino")
    assert "onnxruntime, tensorrt, tensorrt-rtx" in refusal.value.hint


def test_asking_for_backends_imports_no_runtime() -> None:
    code = "import sys, trtreg.backends; print(sorted({'onnxruntime', 'onnx', 'numpy', 'tensorrt'} & set(sys.modules)))"
    asked = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert asked.stdout == "[]\n"


@pytest.mark.slow
def test_a_model_of_more_than_two_gibibytes_makes_a_plan(tmp_path: Path) -> None:
    rows, columns, layers = 16400, 8192, 4
    weights = []
    for i in range(layers):
        tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[rows, columns])
        tensor.data_location = TensorProto.EXTERNAL
        size = rows * columns * 4
        for name, value in (("location", "weights"), ("offset", str(i * size)), ("length", str(size))):
            tensor.external_data.add(key=name, value=value)
        weights.append(tensor)
    with (tmp_path / "weights").open("wb") as sparse:
        sparse.truncate(layers * rows * columns * 4)
    nodes = [helper.make_node("MatMul", ["x", f"w{i}"], [f"p{i}"]) for i in range(layers)]
    nodes.append(helper.make_node("Sum", [f"p{i}" for i in range(layers)], ["y"]))
    model = written(tmp_path / "m.onnx", nodes, TensorProto.FLOAT, TensorProto.FLOAT, weights)
    try:
        plan = build(model, tmp_path / "plan")
        assert plan.with_name("engine.onnx.data").stat().st_size > 2**31
        outputs = OnnxRuntime().load(plan).run({"x": np.ones((2, rows), np.float32)})
        assert not outputs["y"].any()
    finally:
        for path in (tmp_path / "weights", tmp_path / "plan" / "engine.onnx.data"):
            path.unlink(missing_ok=True)  # pytest keeps its folders for three runs
