"""Videos, frame by frame: untrusted files in, H.264 in MP4 out. By PyAV, which holds FFmpeg's libraries.

Frames keep their times, so that a video of varying rate stays one; they are turned as the camera was held. Sound and
subtitles are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from trtreg.errors import Unreachable, UsageError
from trtreg.tasks.truth import Array

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts")

_CONTAINERS = "mov,matroska,webm,avi,mpeg,mpegvideo,mpegts,h264,hevc,ogg,flv,asf"
"""That hold their frames themselves: a list of files or addresses would have FFmpeg open what it names."""
_MOST_PIXELS = 1 << 26
_ENCODERS = ("libx264", "libopenh264", "mpeg4")
"""The best one that is there."""
_USUAL_RATE = Fraction(25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A picture, uint8[height, width, 3], and when it is shown, in the video's own units since its first frame."""

    picture: Array
    time: int


class Video:
    """An open video. `expected` is how many frames it says to have; 0 where it doesn't say."""

    def __init__(self, container: Any, name: str) -> None:
        self._container, self._name = container, name
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or _USUAL_RATE)
        self.time_base = Fraction(self._stream.time_base or 1 / self.rate)
        self.expected = int(self._stream.frames or 0)

    def frames(self) -> Iterator[Frame]:
        """Every frame, each of the first one's size. Raises UsageError for what can't be read on."""
        first = last = None
        size: dict[str, int] = {}
        for number, frame in enumerate(self._decoded()):
            time = frame.pts
            if time is None:
                time = round(number / self.rate / self.time_base)
            first = time if first is None else first
            # Two frames at one time are none that could be written.
            last = time - first if last is None else max(time - first, last + 1)
            if not size:
                if frame.width * frame.height > _MOST_PIXELS:
                    raise self._unreadable(f"its frames of {frame.width}x{frame.height} are too large")
                size = {"width": frame.width, "height": frame.height}
            picture = frame.to_ndarray(format="rgb24", **size)
            yield Frame(picture=_turned(picture, frame.rotation), time=last)
        if first is None:
            raise self._unreadable("there is no frame in it")

    def _decoded(self) -> Iterator[Any]:
        number = 0
        try:
            for frame in self._container.decode(self._stream):
                yield frame
                number += 1
        except (_av().FFmpegError, ValueError) as error:
            raise self._unreadable(f"after {number} frames: {_words(error)}") from None

    def _unreadable(self, why: str) -> UsageError:
        return _unreadable(self._name, why)


@contextmanager
def open_video(path: Path, name: str) -> Iterator[Video]:
    """The video in the file `path`, which is called `name`. Raises UsageError."""
    av = _av()
    try:
        # An absolute path begins with no word that FFmpeg would take for a protocol.
        container = av.open(str(path.absolute()), options={"format_whitelist": _CONTAINERS})
    except (av.FFmpegError, ValueError) as error:
        raise _unreadable(name, _words(error)) from None
    with container:
        if not container.streams.video:
            raise _unreadable(name, "there is no picture in it")
        yield Video(container, name)


class VideoWriter:
    """Writes a video of pictures of one size, in the units of time that another has."""

    def __init__(self, path: Path, *, rate: Fraction, time_base: Fraction) -> None:
        self._av = _av()
        self._path, self._rate, self._time_base = path, rate, time_base
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._container is None:
            return
        with self._writing():
            if kind is None:
                self._container.mux(self._stream.encode(None))
            self._container.close()

    def write(self, picture: Array, time: int) -> None:
        """The next frame, uint8[height, width, 3]. Raises Unreachable where there is no writing."""
        with self._writing():
            # H.264 has colours for every second pixel only.
            even = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")
            container = self._container or self._begin(even)
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            frame.pts, frame.time_base = time, self._time_base
            container.mux(self._stream.encode(frame))

    def _begin(self, picture: Array) -> Any:
        self._container = self._av.open(str(self._path.absolute()), "w", format="mp4")
        codec = next(name for name in _ENCODERS if name in self._av.codecs_available)
        self._stream = self._container.add_stream(codec, rate=self._rate)
        self._stream.height, self._stream.width = picture.shape[:2]
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = self._time_base
        if codec == "libx264":
            self._stream.options = {"preset": "veryfast", "crf": "20"}
        else:
            self._stream.bit_rate = int(4 * picture.shape[0] * picture.shape[1])
        return self._container

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except self._av.FFmpegError as error:
            raise Unreachable(f"cannot write {self._path.name}: {_words(error)}") from None


def _turned(picture: Array, degrees: int) -> Array:
    """By quarter turns; the camera says how far the picture is to be turned back."""
    return np.rot90(picture, round(degrees / 90) % 4)


def _unreadable(name: str, why: str) -> UsageError:
    return UsageError(f"{name} is no video that can be read: {why}")


def _words(error: BaseException) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(said).split())


def _av() -> Any:
    try:
        return import_module("av")
    except ModuleNotFoundError:
        raise UsageError("videos need PyAV", hint="pip install 'trtreg[vision,video]'") from None
