"""From a picture to the tensor that a model takes, written as text: `letterbox:640`, `classify:224`, `tensors`.

letterbox:SIDE[,stride=N]   YOLO's way: scaled to fit, set in the middle of grey, red green blue, shares of 255.
                            With a stride, no more grey than makes both sides multiples of it
classify:SIDE[,resize=N][,mean=R/G/B][,std=R/G/B][,scale=X][,channels=1]
                            the shorter side scaled to `resize`, the middle cut out, divided by `scale`, normalised;
                            as the published ImageNet networks unless told otherwise
tensors                     no picture at all: .npz files that hold the tensors

All give float32[1, channels, height, width].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from trtreg.core.signature import TensorSpec
from trtreg.errors import UsageError
from trtreg.tasks.scaling import scaled
from trtreg.tasks.truth import Array

_GREY = 114
_LARGEST_SIDE = 16384
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a picture lies in the tensor that was made of it.

    gain           what a pixel's size was multiplied with
    left, top      pixels of padding before it
    width, height  of the picture as it was
    """

    gain: float
    left: float
    top: float
    width: int
    height: int

    def back(self, corners: Array) -> Array:
        """float[n, 4] in the tensor's pixels as pixels of the picture, cut at its edges."""
        moved = (corners - [self.left, self.top, self.left, self.top]) / self.gain
        return np.clip(moved, 0, [self.width, self.height, self.width, self.height])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """float32[1, channels, height, width], and where the picture lies in it."""

    tensor: Array
    placement: Placement


class Preprocess(Protocol):
    """str() gives the text that `parse_preprocess` reads."""

    def __call__(self, picture: Array) -> Prepared:
        """Of a uint8[height, width, 3]."""
        ...


@dataclass(frozen=True, slots=True)
class Letterbox:
    """`stride` 0 makes a square."""

    side: int
    stride: int = 0

    def __str__(self) -> str:
        return f"letterbox:{self.side}" + (f",stride={self.stride}" if self.stride else "")

    def __call__(self, picture: Array) -> Prepared:
        height, width = picture.shape[:2]
        gain = min(self.side / height, self.side / width)
        fitted = scaled(picture, max(round(width * gain), 1), max(round(height * gain), 1))
        across, down = (self._padding(size) for size in (fitted.shape[1], fitted.shape[0]))
        # A half pixel goes to the far edge.
        left, top = round(across / 2 - 0.1), round(down / 2 - 0.1)
        canvas = np.full((fitted.shape[0] + down, fitted.shape[1] + across, 3), _GREY, np.uint8)
        canvas[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
        # The share of a pixel that rounding moved is taken back where boxes are: the place as it was meant, not drawn.
        placement = Placement(
            gain=gain,
            left=(canvas.shape[1] - width * gain) / 2,
            top=(canvas.shape[0] - height * gain) / 2,
            width=width,
            height=height,
        )
        return Prepared(tensor=_planes(canvas) / np.float32(255), placement=placement)

    def _padding(self, size: int) -> int:
        return (self.side - size) % self.stride if self.stride else self.side - size


@dataclass(frozen=True, slots=True, kw_only=True)
class Classify:
    """mean and std have one number, or one for each channel."""

    side: int
    resize: int
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    scale: float = 255.0
    channels: int = 3

    def __str__(self) -> str:
        settings = {
            "resize": str(self.resize),
            "mean": _joined(self.mean),
            "std": _joined(self.std),
            "scale": f"{self.scale:g}",
            "channels": str(self.channels),
        }
        plain = Classify(side=self.side, resize=_usual_resize(self.side))
        usual = {"resize": str(plain.resize), "mean": _joined(plain.mean), "std": _joined(plain.std)}
        usual |= {"scale": "255", "channels": "3"}
        return f"classify:{self.side}" + "".join(f",{n}={v}" for n, v in settings.items() if v != usual[n])

    def __call__(self, picture: Array) -> Prepared:
        from PIL import Image

        height, width = picture.shape[:2]
        gain = self.resize / min(width, height)
        # The longer side is cut to whole pixels, as torchvision does it.
        size = (max(int(width * self.resize / min(width, height)), self.side), self.resize)
        if height > width:
            size = (self.resize, max(int(height * self.resize / width), self.side))
        shown = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)
        if self.channels == 1:
            shown = shown.convert("L")
        left, top = round((size[0] - self.side) / 2), round((size[1] - self.side) / 2)
        cut = np.asarray(shown.crop((left, top, left + self.side, top + self.side)))
        planes = _planes(cut.reshape(self.side, self.side, self.channels)) / np.float32(self.scale)
        mean, std = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (self.mean, self.std))
        placement = Placement(gain=gain, left=-left, top=-top, width=width, height=height)
        return Prepared(tensor=(planes - mean) / std, placement=placement)


@dataclass(frozen=True, slots=True)
class Tensors:
    """What is in an .npz already; there is no picture to prepare."""

    def __str__(self) -> str:
        return "tensors"

    def __call__(self, picture: Array) -> Prepared:  # noqa: ARG002 - the seam's
        raise UsageError("tensors are taken as they are, and this is a picture", hint="say how: letterbox:640")


def parse_preprocess(text: str) -> Preprocess:
    """The way that `text` writes. Raises UsageError."""
    name, _, rest = text.partition(":")
    side, *settings = rest.split(",")
    if text == "tensors":
        return Tensors()
    if name not in ("letterbox", "classify"):
        raise UsageError(
            f"{text!r} is no way to prepare pictures", hint="there are letterbox:640, classify:224 and tensors"
        )
    given = dict(_setting(text, setting) for setting in settings)
    return _letterbox(text, side, given) if name == "letterbox" else _classify(text, side, given)


def fitting(prepared: Prepared, taken: TensorSpec, name: str, preprocess: Preprocess) -> Array:
    """The tensor of the picture called `name`, in the type that the input `taken` has. Raises UsageError for one that
    isn't what the model takes."""
    tensor = prepared.tensor
    given = TensorSpec(taken.name, "float32", tensor.shape)
    sizes = zip(taken.dimensions, tensor.shape, strict=False)
    fits = len(taken.dimensions) == tensor.ndim and all(isinstance(d, str) or d == size for d, size in sizes)
    if not fits or taken.dtype not in ("float32", "float16"):
        raise UsageError(
            f"{preprocess} makes {given} of {name}, and the model takes {taken}",
            hint="say another way to prepare pictures",
        )
    return tensor.astype(taken.dtype, copy=False)


def _letterbox(text: str, side: str, given: Mapping[str, str]) -> Letterbox:
    values = _read_all(text, given, {"stride": _size})
    wanted = Letterbox(_size(text, side), **values)
    if wanted.stride and wanted.side % wanted.stride:
        raise UsageError(f"{text!r}: {wanted.side} is no multiple of the stride {wanted.stride}")
    return wanted


def _classify(text: str, side: str, given: Mapping[str, str]) -> Classify:
    readers = {"resize": _size, "mean": _numbers, "std": _numbers, "scale": _positive, "channels": _size}
    edge = _size(text, side)
    values: dict[str, Any] = {"resize": _usual_resize(edge), **_read_all(text, given, readers)}
    wanted = Classify(side=edge, **values)
    if wanted.resize < wanted.side:
        raise UsageError(f"{text!r}: the middle {wanted.side} pixels can't be cut out of {wanted.resize}")
    if wanted.channels not in (1, 3) or not all(len(v) in (1, wanted.channels) for v in (wanted.mean, wanted.std)):
        raise UsageError(
            f"{text!r}: 1 or 3 channels, with one mean and std or one for each",
            hint="for a grey picture: classify:28,mean=0,std=1,channels=1",
        )
    if not all(s > 0 for s in wanted.std):
        raise UsageError(f"{text!r}: a std must be above 0")
    return wanted


def _usual_resize(side: int) -> int:
    """224 is cut out of 256, and the others in proportion."""
    return round(side * 8 / 7)


def _setting(text: str, setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not (name and equals and value):
        raise UsageError(f"{text!r}: {setting!r} is not of the form NAME=VALUE")
    return name, value


def _read_all(text: str, given: Mapping[str, str], readers: Mapping[str, Callable[[str, str], Any]]) -> dict[str, Any]:
    if unknown := sorted(given.keys() - readers.keys()):
        raise UsageError(f"{text!r}: there is no setting {', '.join(unknown)}", hint=f"there are {', '.join(readers)}")
    return {name: readers[name](text, value) for name, value in given.items()}


def _size(text: str, value: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,4}", value) or int(value) > _LARGEST_SIDE:
        raise UsageError(f"{text!r}: {value!r} is no size in pixels, from 1 to {_LARGEST_SIDE}")
    return int(value)


def _numbers(text: str, value: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in value.split("/"))
    except ValueError:
        numbers = ()
    if not numbers or not np.isfinite(numbers).all():
        raise UsageError(f"{text!r}: {value!r} are no numbers: write 0.5 or 0.485/0.456/0.406")
    return numbers


def _positive(text: str, value: str) -> float:
    number = _numbers(text, value)[0]
    if not number > 0:
        raise UsageError(f"{text!r}: {value!r} must be above 0")
    return number


def _joined(numbers: tuple[float, ...]) -> str:
    return "/".join(repr(n) for n in numbers)


def _planes(picture: Array) -> Array:
    """[height, width, channels] as float32[1, channels, height, width]."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
