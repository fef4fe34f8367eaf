"""Runs on what lies on the device already, tried with this CPU as the device; tests/gpu has them on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, save

from trtreg.backends.onnxruntime_session import CudaSession, session_of
from trtreg.errors import UsageError
from trtreg.interfaces import ResidentSession


class _Watched:
    """ONNX Runtime's session, which keeps what was bound last."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def io_binding(self) -> Any:
        self.bound = self._session.io_binding()
        return self.bound


def opened(path: Path, node: str, kind: int, *more: TensorProto) -> tuple[CudaSession, _Watched]:
    """A model of one node, of `x` and `more`."""
    graph = helper.make_graph(
        [helper.make_node(node, ["x", *(value.name for value in more)], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", kind, ["n"])],
        [helper.make_tensor_value_info("y", kind, None)],
        more,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])  # type: ignore[attr-defined]
    watched = _Watched(session)
    return CudaSession(watched, device="cpu"), watched


def test_it_computes_what_a_run_does_as_often_as_it_is_called(tmp_path: Path) -> None:
    session, watched = opened(tmp_path / "model.onnx", "Neg", TensorProto.FLOAT)
    # Nothing else holds the array: it must live as long as the callable.
    execute = session.resident({"x": np.arange(1000, dtype=np.float32)})
    for _ in range(3):
        execute()
    assert (watched.bound.copy_outputs_to_cpu()[0] == -np.arange(1000)).all()


def test_a_plan_with_strings_has_no_such_run(tmp_path: Path) -> None:
    kinds = (TensorProto.STRING, TensorProto.FLOAT)
    strings, numbers = (opened(tmp_path / f"{kind}.onnx", "Identity", kind)[1] for kind in kinds)
    assert isinstance(session_of(numbers, on_gpu=True), ResidentSession)
    assert not isinstance(session_of(numbers, on_gpu=False), ResidentSession)
    assert not isinstance(session_of(strings, on_gpu=True), ResidentSession)


def test_inputs_on_which_the_plan_fails_are_refused_as_by_a_run(tmp_path: Path) -> None:
    into_pairs = helper.make_tensor("shape", TensorProto.INT64, [2], [2, -1])
    session, _ = opened(tmp_path / "model.onnx", "Reshape", TensorProto.FLOAT, into_pairs)
    with pytest.raises(UsageError, match="the plan takes"):
        session.resident({"x": np.zeros((2, 2), np.float32)})
    with pytest.raises(UsageError, match="fails on these inputs"):
        session.resident({"x": np.zeros(3, np.float32)})()
