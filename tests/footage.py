"""Pictures and videos for tests, drawn by them: squares of one colour on black."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def square(colour: tuple[int, int, int], *, column: int = 1, row: int = 1, side: int = 64) -> Any:
    """uint8[side, side, 3]: one of 4x4 squares is of that colour."""
    picture = np.zeros((side, side, 3), np.uint8)
    quarter = side // 4
    picture[row * quarter : (row + 1) * quarter, column * quarter : (column + 1) * quarter] = colour
    return picture


def write_picture(path: Path, picture: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def write_video(path: Path, pictures: Sequence[Any], *, times: Sequence[int] | None = None, rate: int = 10) -> Path:
    """`times` in units of 1/rate seconds; one after the other unless they say otherwise."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "10"}
        for time, picture in zip(times or range(len(pictures)), pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_video(path: Path) -> tuple[list[Fraction], list[Any]]:
    """When each frame is shown, in seconds, and the frames."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    times = [Fraction(frame.pts) * frame.time_base for frame in frames if frame.pts is not None and frame.time_base]
    return times, [frame.to_ndarray(format="rgb24") for frame in frames]


def turn_clockwise(path: Path, width: int) -> Path:
    """As a camera that was held upright says it: the pictures lie on their side, and the file has how to turn them."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    one = 1 << 16
    matrix = (0, one, 0, -one, 0, 0, width * one, 0, 1 << 30)
    content[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
    path.write_bytes(content)
    return path
