"""A backend whose plans can be refitted on any machine: the ONNX model as it is, its weights in it or left out.

What TensorRT does behind the same seam needs its GPU. This one does it for real, too: a plan runs in ONNX Runtime, one
without weights runs nowhere, and a refit reads nothing of the model but its weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import onnx
import onnxruntime
from onnx import TensorProto, helper

from trtreg.backends.onnxruntime_session import OnnxRuntimeSession
from trtreg.core.builder_settings import Weights
from trtreg.core.model import ModelFacts
from trtreg.core.recipe import Recipe
from trtreg.core.signature import Signature
from trtreg.core.target import Target
from trtreg.core.verdict import GateReport
from trtreg.core.work import Built, WorkOrder
from trtreg.errors import BuildFailed
from trtreg.interfaces import Backend, Progress, Session
from trtreg.workshop import wire
from trtreg.workshop.steps import perform

PLAN = "engine.onnx"
LEFT_OUT = "left out"


class Splitting:
    """A Backend by the name of `tensorrt`."""

    name = "tensorrt"

    def build(self, model: Path, recipe: Recipe, target: Target, folder: Path) -> str:
        if recipe.builder.weights is Weights.STRIPPED:
            plan = onnx.load(model)
            for tensor in filter(_is_weight, plan.graph.initializer):
                tensor.ClearField("raw_data")
                tensor.doc_string = LEFT_OUT
            onnx.save(plan, folder / PLAN)
        else:
            shutil.copyfile(model, folder / PLAN)
        return PLAN

    def refit(self, source: Path, model: Path, folder: Path, *, weights: Collection[str]) -> str:
        plan = onnx.load(source)
        given = {t.name: t for t in onnx.load(model).graph.initializer if _is_weight(t)}
        there = {t.name: t for t in plan.graph.initializer}
        if lacking := set(weights) - set(there):
            raise BuildFailed(f"the plan has no {lacking}")
        for name, tensor in there.items():
            if name in given:
                tensor.CopyFrom(given[name])
        helper.set_model_props(plan, {"refitted": "yes"})
        onnx.save(plan, folder / PLAN)
        return PLAN

    def load(self, plan: Path) -> Session:
        if any(t.doc_string == LEFT_OUT for t in onnx.load(plan).graph.initializer):
            raise BuildFailed("a plan without weights can't be run")
        api = cast(Any, onnxruntime)
        return OnnxRuntimeSession(api.InferenceSession(str(plan), providers=["CPUExecutionProvider"]))

    def versions(self) -> Mapping[str, str]:
        return {"splitting": "1"}


def _is_weight(tensor: TensorProto) -> bool:
    return tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16) and bool(tensor.raw_data)


@dataclass
class Bench:
    """A Workshop in this process, on one backend; remembers the order of each build, and what came of it."""

    backend: Backend = field(default_factory=Splitting)
    orders: list[WorkOrder] = field(default_factory=list)
    built: list[Built] = field(default_factory=list)

    def examine(self, model: Path, progress: Progress) -> ModelFacts:
        return cast(ModelFacts, self._perform(wire.Examine(model=model), progress))

    def count_cases(self, sample: Path, signature: Signature, progress: Progress) -> int:
        return cast(wire.Cases, self._perform(wire.CountCases(sample=sample, signature=signature), progress)).count

    def build(self, order: WorkOrder, progress: Progress) -> Built:
        self.orders.append(order)
        self.built.append(cast(Built, self._perform(wire.Build(order=order), progress)))
        return self.built[-1]

    def graph(self, order: WorkOrder, progress: Progress) -> str:
        return cast(wire.GraphOf, self._perform(wire.TellGraph(order=order), progress)).digest

    def gate(self, order: WorkOrder, plan: Path, progress: Progress) -> GateReport:
        return cast(GateReport, self._perform(wire.Judge(order=order, plan=plan), progress))

    def _perform(self, task: wire.Task, progress: Progress) -> wire.Answer:
        # Through the wire and back, as a child process would have it.
        sent = wire.task_from_text(wire.task_to_text(task))
        return perform(sent, progress, lambda name, **_: self.backend)
