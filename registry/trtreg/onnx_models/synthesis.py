"""An example model without anybody's weights: the YOLOv5 v6 detector with seeded random ones.

The network, its sizes and its decoding of boxes are those that Ultralytics published, with batch normalization folded
into the convolutions. It detects nothing, but costs what the real one costs, and its activations stay in the ranges
of a trained network, so that building, rewriting and the gate do on it what they do on the real one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from trtreg.errors import UsageError
from trtreg.onnx_models.writing import write_model

VARIANTS = {"n": (0.33, 0.25), "s": (0.33, 0.50), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
"""Multiples of the table's repetitions and channels."""

_CLASSES = 80
_ANCHORS = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}
"""Widths and heights in pixels, by the stride of the map that they belong to."""

_LAYERS: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = (
    # kind, the layers it reads (-1: the one before), then
    #   conv: channels, kernel, stride;  c3: channels, repetitions, with shortcuts;  sppf: channels
    ("conv", (-1,), (64, 6, 2)),
    ("conv", (-1,), (128, 3, 2)),
    ("c3", (-1,), (128, 3, True)),
    ("conv", (-1,), (256, 3, 2)),
    ("c3", (-1,), (256, 6, True)),
    ("conv", (-1,), (512, 3, 2)),
    ("c3", (-1,), (512, 9, True)),
    ("conv", (-1,), (1024, 3, 2)),
    ("c3", (-1,), (1024, 3, True)),
    ("sppf", (-1,), (1024,)),
    ("conv", (-1,), (512, 1, 1)),
    ("upsample", (-1,), ()),
    ("concat", (-1, 6), ()),
    ("c3", (-1,), (512, 3, False)),
    ("conv", (-1,), (256, 1, 1)),
    ("upsample", (-1,), ()),
    ("concat", (-1, 4), ()),
    ("c3", (-1,), (256, 3, False)),
    ("conv", (-1,), (256, 3, 2)),
    ("concat", (-1, 14), ()),
    ("c3", (-1,), (512, 3, False)),
    ("conv", (-1,), (512, 3, 2)),
    ("concat", (-1, 10), ()),
    ("c3", (-1,), (1024, 3, False)),
    ("detect", (17, 20, 23), ()),
)
_GAIN = 1.35
"""Standard deviation of a filter's response to unit noise. It lets the activations fade slowly from the picture to
the head; were they to grow, rounding errors would grow with them, and 16 bits would tell another story than 32."""
_PICTURE_GAIN = 100.0
_HEAD_GAIN = 0.8
_BIAS_SPREAD = 0.17
_DRAW = 1 << 15


@dataclass(frozen=True)
class _Map:
    """A feature map: the value's name and how many channels it has."""

    name: str
    channels: int


def write_yolov5(path: Path, *, variant: str = "s", image_size: int = 640, seed: int = 0) -> None:
    """Write the detector to `path`: images, float32[1x3xSxS] → output, float32[1xNx85], N = 25200 for S = 640.

    A row of the output is a box's centre, width and height in pixels, its objectness and 80 class scores. `s` has
    7,225,885 weights. The bytes depend on the arguments alone. Raises UsageError.
    """
    if variant not in VARIANTS:
        raise UsageError(f"there is no YOLOv5 {variant!r}", hint=f"the variants are {', '.join(VARIANTS)}")
    if image_size < 32 or image_size % 32:
        raise UsageError(f"the image size {image_size} isn't a multiple of 32", hint="take 320 or 640")
    write_model(_Network(variant, image_size, seed).model(), path)


class _Network:
    def __init__(self, variant: str, image_size: int, seed: int) -> None:
        self.variant = variant
        self.image_size = image_size
        self.depth, self.width = VARIANTS[variant]
        self.random = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def model(self) -> ModelProto:
        kinds: dict[str, Callable[..., _Map]] = {"conv": self._conv, "c3": self._c3, "sppf": self._sppf}
        layers: list[_Map] = [_Map("images", 3)]
        for number, (kind, sources, arguments) in enumerate(_LAYERS):
            # The input comes before layer 0, so that layer i is layers[i + 1] and -1 is still the one before.
            inputs = [layers[s if s < 0 else s + 1] for s in sources]
            place = f"model.{number}"
            if kind in kinds:
                channels = self._channels(arguments[0])
                layers.append(kinds[kind](inputs[0], place, channels, *arguments[1:]))
            elif kind == "upsample":
                layers.append(self._upsample(inputs[0], place))
            elif kind == "concat":
                layers.append(self._concat(inputs, place))
            else:
                layers.append(self._detect(inputs, place))
        return self._finished(layers[-1].name)

    def _finished(self, output: str) -> ModelProto:
        size = self.image_size
        rows = sum(len(anchors) * (size // stride) ** 2 for stride, anchors in _ANCHORS.items())
        graph = helper.make_graph(
            self.nodes,
            f"yolov5{self.variant}",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, rows, 5 + _CLASSES])],
            self.constants,
        )
        opset = helper.make_opsetid("", 17)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="trtreg")

    # --- the blocks of the table -------------------------------------------------------------------------

    def _channels(self, published: int) -> int:
        return math.ceil(published * self.width / 8) * 8

    def _conv(
        self, source: _Map, place: str, channels: int, kernel: int = 1, stride: int = 1, *, gain: float = 1.0
    ) -> _Map:
        """A convolution and SiLU. The first layer's even kernel is padded by 2, as published."""
        padding = 2 if kernel == 6 else kernel // 2
        gain *= _PICTURE_GAIN if source.name == "images" else _GAIN
        response = self._convolution(source, f"{place}.conv", channels, kernel, stride, padding, gain=gain)
        gate = self._node("Sigmoid", [response], f"{place}.act")
        return _Map(self._node("Mul", [response, gate], f"{place}.act"), channels)

    def _c3(self, source: _Map, place: str, channels: int, repetitions: int, shortcut: bool) -> _Map:
        """Two ways side by side, one through bottlenecks. Many shortcuts share what one would add."""
        inner, bottlenecks = channels // 2, max(round(repetitions * self.depth), 1)
        main = self._conv(source, f"{place}.cv1", inner)
        for i in range(bottlenecks):
            narrow = self._conv(main, f"{place}.m.{i}.cv1", inner)
            wide = self._conv(narrow, f"{place}.m.{i}.cv2", inner, 3, gain=bottlenecks**-0.5 if shortcut else 1)
            main = _Map(self._node("Add", [main.name, wide.name], f"{place}.m.{i}"), inner) if shortcut else wide
        side = self._conv(source, f"{place}.cv2", inner)
        return self._conv(self._concat([main, side], place), f"{place}.cv3", channels)

    def _sppf(self, source: _Map, place: str, channels: int) -> _Map:
        """Spatial pyramid pooling: three poolings of five, one after the other."""
        pools = [self._conv(source, f"{place}.cv1", source.channels // 2)]
        for i in range(3):
            pooled = self._node(
                "MaxPool", [pools[-1].name], f"{place}.m.{i}", kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4
            )
            pools.append(_Map(pooled, pools[0].channels))
        return self._conv(self._concat(pools, place), f"{place}.cv2", channels)

    def _upsample(self, source: _Map, place: str) -> _Map:
        scales = self._constant(f"{place}.scales", np.array([1, 1, 2, 2], np.float32))
        nearest = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        return _Map(self._node("Resize", [source.name, "", scales], place, **nearest), source.channels)

    def _concat(self, sources: list[_Map], place: str) -> _Map:
        joined = self._node("Concat", [s.name for s in sources], place, axis=1)
        return _Map(joined, sum(s.channels for s in sources))

    # --- the head ----------------------------------------------------------------------------------------

    def _detect(self, sources: list[_Map], place: str) -> _Map:
        boxes = [
            self._decode(source, place, level, stride)
            for level, (source, stride) in enumerate(zip(sources, _ANCHORS, strict=True))
        ]
        self.nodes.append(helper.make_node("Concat", boxes, ["output"], name=f"/{place}/Concat", axis=1))
        return _Map("output", 5 + _CLASSES)

    def _decode(self, source: _Map, place: str, level: int, stride: int) -> str:
        """One map's boxes, float32[1 x anchors·cells x 85]: offsets within cells and shares of anchors to pixels."""
        anchors, cells, columns = len(_ANCHORS[stride]), self.image_size // stride, 5 + _CLASSES
        at = f"{place}.level.{level}"
        raw = self._convolution(
            source, f"{place}.m.{level}", anchors * columns, 1, 1, 0, gain=_HEAD_GAIN, bias=self._prior(stride)
        )
        folded = self._reshape(raw, f"{at}.fold", [1, anchors, columns, cells, cells])
        scores = self._node("Sigmoid", [self._node("Transpose", [folded], at, perm=[0, 1, 3, 4, 2])], at)
        parts = [f"/{at.replace('.', '/')}/{part}" for part in ("centre", "size", "confidence")]
        sizes = self._constant(f"{at}.split", np.array([2, 2, columns - 4], np.int64))
        self.nodes.append(
            helper.make_node("Split", [scores, sizes], parts, name=f"/{place}/level.{level}/Split", axis=4)
        )
        centre = self._centre(parts[0], f"{at}.centre", cells, stride)
        size = self._size(parts[1], f"{at}.size", stride)
        rows = self._node("Concat", [centre, size, parts[2]], at, axis=4)
        return self._reshape(rows, f"{at}.rows", [1, anchors * cells * cells, columns])

    def _centre(self, share: str, place: str, cells: int, stride: int) -> str:
        """(2·share - 0.5 + cell)·stride."""
        y, x = np.meshgrid(np.arange(cells), np.arange(cells), indexing="ij")
        cell = np.stack([x, y], axis=-1).astype(np.float32)[None, None] - np.float32(0.5)
        doubled = self._node("Mul", [share, self._constant(f"{place}.two", np.array(2, np.float32))], f"{place}.double")
        placed = self._node("Add", [doubled, self._constant(f"{place}.cell", cell)], place)
        return self._node("Mul", [placed, self._constant(f"{place}.stride", np.array(stride, np.float32))], place)

    def _size(self, share: str, place: str, stride: int) -> str:
        """(2·share)²·anchor."""
        two = self._constant(f"{place}.two", np.array(2, np.float32))
        anchor = np.array(_ANCHORS[stride], np.float32).reshape(1, -1, 1, 1, 2)
        squared = self._node("Pow", [self._node("Mul", [share, two], f"{place}.double"), two], place)
        return self._node("Mul", [squared, self._constant(f"{place}.anchor", anchor)], place)

    def _prior(self, stride: int) -> NDArray[np.float32]:
        """Biases that begin training: eight objects in an image of 640, all classes alike."""
        bias = np.zeros((len(_ANCHORS[stride]), 5 + _CLASSES), np.float32)
        bias[:, 4] = math.log(8 / (640 / stride) ** 2)
        bias[:, 5:] = math.log(0.6 / (_CLASSES - 1))
        return bias.reshape(-1)

    # --- nodes and constants -----------------------------------------------------------------------------

    def _convolution(
        self,
        source: _Map,
        place: str,
        channels: int,
        kernel: int,
        stride: int,
        padding: int,
        *,
        gain: float,
        bias: NDArray[np.float32] | None = None,
    ) -> str:
        weight = self._filters((channels, source.channels, kernel, kernel), gain)
        bias = self._biases(channels) if bias is None else bias
        inputs = [source.name, self._constant(f"{place}.weight", weight), self._constant(f"{place}.bias", bias)]
        square = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        return self._node("Conv", inputs, place, dilations=[1, 1], group=1, **square)

    def _filters(self, shape: tuple[int, int, int, int], gain: float) -> NDArray[np.float32]:
        """Random filters that answer unit noise with `gain` and a constant with nothing: SiLU's outputs and pictures
        have a mean that would otherwise grow from layer to layer.

        Drawn and summed as whole numbers, so that no machine's way of adding floats shows in the bytes.
        """
        drawn = self.random.integers(-_DRAW, _DRAW, size=shape, endpoint=True)
        inputs = math.prod(shape[1:])
        centred: NDArray[np.float64] = drawn - drawn.sum(axis=(1, 2, 3), keepdims=True) / inputs
        return (centred * (gain * math.sqrt(3 / inputs) / _DRAW)).astype(np.float32)

    def _biases(self, channels: int) -> NDArray[np.float32]:
        drawn: NDArray[np.int64] = self.random.integers(-_DRAW, _DRAW, size=channels, endpoint=True)
        return (drawn * (_BIAS_SPREAD / _DRAW)).astype(np.float32)

    def _reshape(self, source: str, place: str, shape: list[int]) -> str:
        return self._node("Reshape", [source, self._constant(f"{place}.shape", np.array(shape, np.int64))], place)

    def _constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def _node(self, operator: str, inputs: list[str], place: str, **attributes: Any) -> str:
        """Append a node named as PyTorch's exporter would, `/model.2/cv1/conv/Conv`; the name of its output."""
        name = f"/{place.replace('.', '/').replace('model/', 'model.', 1)}/{operator}"
        output = f"{name}_output_0"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output
