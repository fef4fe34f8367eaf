from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from trtreg.errors import NotFound, UsageError
from trtreg.tasks.pictures import find_pictures, read_picture
from trtreg.tasks.preprocess import Letterbox, parse_preprocess
from trtreg.tasks.scaling import scaled


def grey(height: int, width: int, value: int = 200) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_a_letterbox_is_a_picture_in_the_middle_of_grey() -> None:
    prepared = parse_preprocess("letterbox:8")(grey(4, 8))
    assert prepared.tensor.shape == (1, 3, 8, 8)
    assert prepared.tensor.dtype == np.float32
    assert (prepared.tensor[0, 0, :, 0] * 255).round().tolist() == [114, 114, 200, 200, 200, 200, 114, 114]


def test_the_odd_line_of_grey_is_the_last() -> None:
    tensor = parse_preprocess("letterbox:8")(grey(5, 8)).tensor
    assert (tensor[0, 0, :, 0] * 255).round().tolist() == [114, *[200] * 5, 114, 114]


def test_with_a_stride_there_is_no_more_grey_than_it_takes() -> None:
    prepared = parse_preprocess("letterbox:640,stride=32")(grey(1080, 810))
    assert prepared.tensor.shape == (1, 3, 640, 480)


def test_colours_are_red_green_blue_planes() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[:] = [255, 51, 0]
    assert parse_preprocess("letterbox:2")(picture).tensor[0, :, 0, 0].tolist() == pytest.approx([1, 0.2, 0])


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([0, 4, 8]))
def test_the_corners_of_a_letterboxed_picture_go_back_to_the_picture_s(height: int, width: int, stride: int) -> None:
    prepared = Letterbox(32, stride)(grey(height, width))
    placed = prepared.placement
    low = np.array([placed.left, placed.top])
    corners = np.concatenate([low, low + np.array([width, height]) * placed.gain])[None]
    assert placed.back(corners) == pytest.approx(np.array([[0, 0, width, height]]))
    assert max(prepared.tensor.shape) == 32 or stride
    assert all(side % (stride or 32) == 0 for side in prepared.tensor.shape[2:])


def test_boxes_that_leave_the_picture_are_cut_at_its_edge() -> None:
    placement = parse_preprocess("letterbox:8")(grey(4, 8)).placement
    assert placement.back(np.array([[-5.0, -5.0, 50.0, 50.0]])).tolist() == [[0, 0, 8, 4]]


# What OpenCV 5.0 makes of these rows: cv2.resize with INTER_LINEAR where they grow, INTER_AREA where they shrink.
@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ([10, 20, 40, 80], [10, 13, 18, 25, 35, 50, 70, 80]),
        ([10, 20, 40, 80], [15, 60]),
        ([10, 20, 40, 80], [12, 30, 70]),
        ([0, 255, 1, 254, 3], [102, 102, 103]),
    ],
)
def test_pixels_are_opencv_s(row: list[int], wanted: list[int]) -> None:
    picture = np.repeat(np.array(row, np.uint8)[None, :, None], 3, axis=2).repeat(2, axis=0)
    height = 2 if len(wanted) != 2 else 1
    assert scaled(picture, len(wanted), height)[0, :, 0].tolist() == wanted


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 255))
def test_a_picture_of_one_colour_keeps_it_at_any_size(a: int, b: int, c: int, d: int, value: int) -> None:
    assert np.abs(scaled(grey(a, b, value), c, d).astype(int) - value).max() <= 1


def test_classifiers_see_the_middle_normalised() -> None:
    picture = np.zeros((256, 512, 3), np.uint8)
    picture[:, 144:368] = 255
    tensor = parse_preprocess("classify:224")(picture).tensor
    assert tensor.shape == (1, 3, 224, 224)
    assert tensor[0, :, 112, 112].tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    )
    assert np.ptp(tensor[0, 0]) == 0


def test_a_grey_picture_of_digits_has_one_channel_as_it_is() -> None:
    tensor = parse_preprocess("classify:28,resize=28,mean=0,std=1,scale=1,channels=1")(grey(56, 56, 7)).tensor
    assert tensor.shape == (1, 1, 28, 28)
    assert tensor.max() == 7


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (1, 900), (257, 256), (33, 31)])
def test_pictures_of_all_sizes_can_be_classified(size: tuple[int, int]) -> None:
    assert parse_preprocess("classify:224")(grey(*size)).tensor.shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("letterbox:640", "letterbox:640"),
        ("letterbox:640,stride=32", "letterbox:640,stride=32"),
        ("tensors", "tensors"),
        ("classify:224", "classify:224"),
        ("classify:224,resize=256,scale=255.0,channels=3", "classify:224"),
        ("classify:224,std=0.5,resize=232,mean=0.5/0.5/0.5", "classify:224,resize=232,mean=0.5/0.5/0.5,std=0.5"),
        (
            "classify:28,resize=28,mean=0,std=1,scale=1,channels=1",
            "classify:28,resize=28,mean=0.0,std=1.0,scale=1,channels=1",
        ),
    ],
)
def test_a_way_has_one_text_which_gives_it_back(text: str, canonical: str) -> None:
    assert str(parse_preprocess(text)) == canonical
    assert parse_preprocess(canonical) == parse_preprocess(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no way to prepare pictures"),
        ("crop:640", "no way to prepare pictures"),
        ("tensors:1", "no way to prepare pictures"),
        ("letterbox", "'' is no size"),
        ("letterbox:0", "'0' is no size"),
        ("letterbox:99999", "no size in pixels, from 1 to 16384"),
        ("letterbox:640,stride", "not of the form NAME=VALUE"),
        ("letterbox:640,grey=0", "there is no setting grey"),
        ("letterbox:640,stride=33", "640 is no multiple of the stride 33"),
        ("classify:224,resize=200", "the middle 224 pixels can't be cut out of 200"),
        ("classify:224,mean=x", "'x' are no numbers"),
        ("classify:224,mean=nan", "'nan' are no numbers"),
        ("classify:224,std=0", "a std must be above 0"),
        ("classify:224,scale=0", "must be above 0"),
        ("classify:224,mean=0/1", "1 or 3 channels"),
        ("classify:224,channels=1", "1 or 3 channels"),
    ],
)
def test_what_is_no_way_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_preprocess(text)


def test_tensors_are_not_made_of_pictures() -> None:
    with pytest.raises(UsageError, match="this is a picture"):
        parse_preprocess("tensors")(grey(2, 2))


def test_a_picture_is_turned_as_the_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey(10, 30)).save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (30, 10, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_pictures_of_all_modes_are_read_as_colours(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (4, 3)).save(tmp_path / "a.tif")
    assert read_picture(tmp_path / "a.tif").shape == (3, 4, 3)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.png is no picture"):
        read_picture(tmp_path / "a.png")


def test_a_picture_cut_short_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"a\.jpg is no picture"):
        read_picture(tmp_path / "a.jpg")


def test_a_picture_that_claims_too_many_pixels_is_refused_before_any_is_decoded(tmp_path: Path) -> None:
    size = (30_000).to_bytes(4, "little")
    header = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little") + size + size
    (tmp_path / "a.bmp").write_bytes(header + b"\1\0\x18\0" + bytes(100))
    with pytest.raises(UsageError, match=r"a\.bmp is no picture that can be read: .*900000000 pixels"):
        read_picture(tmp_path / "a.bmp")


def test_pictures_are_found_by_name_in_all_folders(tmp_path: Path) -> None:
    for name in ("b.PNG", "x/a.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in find_pictures(tmp_path)] == ["b.PNG", "a.jpg"]


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="have one name"):
        find_pictures(tmp_path)


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no pictures"):
        find_pictures(tmp_path)
