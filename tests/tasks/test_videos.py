from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from footage import BLUE, GREEN, RED, read_video, square, turn_clockwise, write_video
from trtreg.errors import UsageError
from trtreg.tasks.videos import VideoWriter, open_video


def test_a_video_of_varying_rate_stays_one(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", [square(c) for c in (RED, GREEN, BLUE)], times=[0, 1, 7])
    with (
        open_video(source, "in.mp4") as video,
        VideoWriter(tmp_path / "out.mp4", rate=video.rate, time_base=video.time_base) as writer,
    ):
        assert video.expected == 3
        for frame in video.frames():
            writer.write(frame.picture, frame.time)
    times, pictures = read_video(tmp_path / "out.mp4")
    assert times == [0, Fraction(1, 10), Fraction(7, 10)]
    for colour, picture in zip((RED, GREEN, BLUE), pictures, strict=True):
        assert picture[24, 24] == pytest.approx(np.array(colour), abs=60)
        assert picture[8, 8] == pytest.approx(np.zeros(3), abs=30)


def test_pictures_are_turned_as_the_camera_was_held(tmp_path: Path) -> None:
    lying = np.concatenate([np.full((64, 48, 3), 255, np.uint8), np.zeros((64, 48, 3), np.uint8)], axis=1)
    turned = turn_clockwise(write_video(tmp_path / "in.mp4", [lying, lying]), width=64)
    with open_video(turned, "in.mp4") as video:
        upright = next(video.frames()).picture
    assert upright.shape == (96, 64, 3)
    assert upright[:40].min() > 200
    assert upright[-40:].max() < 50


def test_sides_of_odd_length_are_written_all_the_same(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "odd.mp4", rate=Fraction(5), time_base=Fraction(1, 5)) as writer:
        writer.write(np.full((33, 35, 3), 200, np.uint8), 0)
    assert read_video(tmp_path / "odd.mp4")[1][0].shape == (34, 36, 3)


@pytest.mark.parametrize(
    "content", [b"", b"not a video", b"#EXTM3U\n#EXTINF:1,\nother.mp4\n", b"ffconcat version 1.0\nfile other.mp4\n"]
)
def test_what_is_no_video_or_a_list_of_files_is_refused(tmp_path: Path, content: bytes) -> None:
    write_video(tmp_path / "other.mp4", [square(RED)])
    (tmp_path / "list.mp4").write_bytes(content)
    with (
        pytest.raises(UsageError, match=r"list\.mp4 is no video that can be read"),
        open_video(tmp_path / "list.mp4", "list.mp4"),
    ):
        pass


def test_a_video_that_breaks_off_says_after_which_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(8)]
    content = bytearray(write_video(tmp_path / "whole.mp4", noise).read_bytes())
    start = content.index(b"mdat") + 4
    # All of the frames' data, and nothing of what tells where each lies.
    content[start : content.index(b"moov") - 4] = b"\xff" * (content.index(b"moov") - 4 - start)
    (tmp_path / "broken.mp4").write_bytes(content)
    with (
        pytest.raises(UsageError, match=r"broken\.mp4 is no video that can be read: after \d+ frames"),
        open_video(tmp_path / "broken.mp4", "broken.mp4") as video,
    ):
        list(video.frames())
