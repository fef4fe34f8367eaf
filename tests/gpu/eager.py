"""YOLOv5 run operator by operator by PyTorch from its ONNX file, as PyTorch runs a network that nobody compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import torch
from onnx import numpy_helper

Array: TypeAlias = "np.ndarray[Any, Any]"
Settings: TypeAlias = "Mapping[str, Any]"
Call: TypeAlias = "tuple[list[str], list[str], Callable[..., Any]]"

_PLAIN: Mapping[str, Callable[..., Any]] = {
    "Add": torch.add,
    "Equal": torch.eq,
    "Floor": torch.floor,
    "Mul": torch.mul,
    "Pow": torch.pow,
    "Sigmoid": torch.sigmoid,
    "Sub": torch.sub,
    "Where": torch.where,
}
_SHAPED: Mapping[str, Callable[[Settings], Callable[..., Any]]] = {
    "Concat": lambda s: lambda *parts: torch.cat(parts, s["axis"]),
    "ConstantOfShape": lambda s: lambda shape: torch.full(shape.tolist(), numpy_helper.to_array(s["value"]).item()),
    "Conv": lambda s: lambda x, w, b: torch.conv2d(x, w, b, s["strides"], s["pads"][:2], s["dilations"], s["group"]),
    "Expand": lambda s: lambda x, shape: x.expand(torch.broadcast_shapes(x.shape, shape.tolist())),
    "MaxPool": lambda s: lambda x: torch.max_pool2d(x, s["kernel_shape"], s["strides"], s["pads"][:2]),
    "Reshape": lambda s: lambda x, shape: x.reshape(shape.tolist()),
    "Resize": lambda s: lambda x: torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"),
    "Split": lambda s: lambda x: torch.split(x, s["split"], s["axis"]),
    "Transpose": lambda s: lambda x: x.permute(s["perm"]),
    "Unsqueeze": lambda s: lambda x: x.unsqueeze(s["axes"][0]),
}


class EagerModel:
    """Called with a picture as float32[1, 3, 640, 640], gives float32[1, 25200, 85], both numpy's.

    half  computes in float16
    """

    def __init__(self, path: Path, device: str, *, half: bool = False) -> None:
        graph = onnx.load(path).graph
        self._device, self._float = device, torch.float16 if half else torch.float32
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._values = {weight.name: self._tensor(numpy_helper.to_array(weight)) for weight in graph.initializer}
        self._calls = self._without_constants([self._call(node) for node in graph.node if node.op_type != "Shape"])

    def __call__(self, image: Array) -> Array:
        """The copies to the GPU and back included."""
        with torch.inference_mode():
            given = self._run(torch.from_numpy(image).to(self._device, self._float))
            return np.asarray(given.float().cpu().numpy())

    def _run(self, image: torch.Tensor) -> torch.Tensor:
        values = {**self._values, self._input: image}
        for call in self._calls:
            _perform(call, values)
        return values[self._output]

    def _tensor(self, array: Array) -> torch.Tensor:
        tensor = torch.from_numpy(array.copy())
        # Shapes stay on the CPU, since they are wanted as Python's numbers.
        return tensor.to(self._device, self._float) if tensor.is_floating_point() else tensor

    def _call(self, node: Any) -> Call:
        settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            self._values[node.output[0]] = self._tensor(numpy_helper.to_array(settings["value"]))
            return [], [], lambda: ()
        # Of a Resize, the sizes are known to be doubled: what computes them is left out.
        inputs = list(node.input)[:1] if node.op_type == "Resize" else list(node.input)
        run = _PLAIN.get(node.op_type) or _SHAPED.get(node.op_type, lambda s: _unknown)(settings)
        return inputs, list(node.output), run

    def _without_constants(self, calls: list[Call]) -> list[Call]:
        """What depends on the picture and is needed. Grids and the like are computed here, once."""
        left, open_values = [], {self._input}
        for call in calls:
            inputs, outputs, run = call
            if not open_values.isdisjoint(inputs):
                open_values.update(outputs)
                left.append(call)
            elif outputs and run is not _unknown and all(name in self._values for name in inputs):
                _perform(call, self._values)
        needed, live = {self._output}, []
        for call in reversed(left):
            if not needed.isdisjoint(call[1]):
                needed.update(call[0])
                live.append(call)
        return live[::-1]


def _perform(call: Call, values: dict[str, Any]) -> None:
    inputs, outputs, run = call
    given = run(*(values[name] for name in inputs))
    values.update(zip(outputs, given if isinstance(given, tuple) else (given,), strict=True))


def _unknown(*_: Any) -> Any:
    raise NotImplementedError("an operator that YOLOv5 doesn't have")
