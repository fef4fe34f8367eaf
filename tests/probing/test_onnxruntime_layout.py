"""The fingerprint of ONNX Runtime's blocked layout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from trtreg.probing import onnxruntime_layout
from trtreg.probing.onnx_writing import FLOAT, Node, Value, Weights, model
from trtreg.probing.onnxruntime_layout import layout_fingerprint

WITHOUT_ONNX = """
import sys
sys.modules["onnx"] = None
from trtreg.probing.onnxruntime_layout import layout_fingerprint
print(layout_fingerprint())
"""


def test_another_process_without_the_onnx_package_finds_the_same_fingerprint() -> None:
    asked = subprocess.run([sys.executable, "-c", WITHOUT_ONNX], check=True, capture_output=True, text=True)
    assert asked.stdout == f"{layout_fingerprint()}\n"
    assert asked.stderr == ""


def test_the_probes_are_models_that_onnx_accepts() -> None:
    for probe in onnxruntime_layout._probes():
        onnx.checker.check_model(probe, full_check=True)


def test_the_blocks_of_this_cpu_show_in_what_is_hashed(tmp_path: Path) -> None:
    convolution = next(onnxruntime_layout._probes())
    optimised = onnx.load_from_string(onnxruntime_layout._optimised(convolution, tmp_path / "m.onnx"))
    if "ReorderInput" not in {node.op_type for node in optimised.graph.node}:
        pytest.skip("ONNX Runtime blocks no weights on this CPU")
    before = onnx.load_from_string(convolution).graph.initializer[0].raw_data
    after = optimised.graph.initializer[0].raw_data
    assert len(before) == len(after)
    assert before != after


def test_what_is_hashed_says_nothing_of_where_it_was_saved(tmp_path: Path) -> None:
    for probe in onnxruntime_layout._probes():
        here = onnxruntime_layout._optimised(probe, tmp_path / "a.onnx")
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        there = onnxruntime_layout._optimised(probe, tmp_path / "elsewhere" / "b.onnx")
        assert here == there


def test_another_layout_gives_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    here = layout_fingerprint()
    optimised = onnxruntime_layout._optimised
    monkeypatch.setattr(onnxruntime_layout, "_optimised", lambda probe, path: optimised(probe, path)[::-1])
    assert layout_fingerprint() != here


@pytest.mark.parametrize("size", [1, 127, 128, 16384, 2**40])
def test_a_written_model_reads_back_as_it_was_meant(size: int) -> None:
    content = model(
        [Node("Conv", ("x", "w"), "y", (("group", 3), ("pads", (1, 0, 1, 300))))],
        [Weights("w", FLOAT, (1,), b"\x00\x00\x80\x3f")],
        Value("x", FLOAT, (size, 4)),
        Value("y", FLOAT, ()),
        opset=17,
    )
    read = onnx.load_from_string(content)
    [node] = read.graph.node
    assert (node.op_type, list(node.input), list(node.output)) == ("Conv", ["x", "w"], ["y"])
    assert {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} == {"group": 3, "pads": [1, 0, 1, 300]}
    assert onnx.numpy_helper.to_array(read.graph.initializer[0]).tolist() == [1.0]
    assert [d.dim_value for d in read.graph.input[0].type.tensor_type.shape.dim] == [size, 4]
    assert read.opset_import[0].version == 17
