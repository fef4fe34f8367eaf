"""Records survive the trip to JSON and back, and nothing that isn't one gets in."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.files import FileSet, StoredFile
from trtreg.core.recipe import Precision, Recipe, ShapeRange, parse_shape
from trtreg.core.records import MalformedRecord, from_json, to_json
from trtreg.core.target import Target
from trtreg.core.verdict import Tolerance

text = st.text(max_size=10)
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
shapes = st.builds(lambda name, s: ShapeRange(name, s, s, s), text, sizes)
targets = st.builds(Target, runtime=text, runtime_version=text, architecture=text, platform=text, layout=text)
recipes = st.builds(Recipe, profiles=shapes.map(lambda s: (s,)), keep_io_types=st.booleans())


@given(targets | recipes)
def test_a_record_survives_the_trip(record: Target | Recipe) -> None:
    assert from_json(type(record), to_json(record)) == record


@given(targets)
def test_equal_records_have_one_text(target: Target) -> None:
    assert to_json(target) == to_json(from_json(Target, to_json(target)))


def test_numbers_that_json_lacks_survive_as_words() -> None:
    wide = Tolerance(relative_l2=math.inf, cosine=-1, max_error=math.inf)

    assert json.loads(to_json(wide))["relative_l2"] == "inf"
    assert from_json(Tolerance, to_json(wide)) == wide


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"extra": 1}, "unknown field extra"),
        ({"runtime": None}, "expected str"),
        ({"runtime": 7}, "expected str"),
        ({"runtime": ["x"]}, "expected str"),
    ],
)
def test_what_is_no_record_is_refused_with_the_field(damage: dict[str, object], said: str) -> None:
    plain = json.loads(to_json(Target(runtime="r", runtime_version="1", architecture="a", platform="p")))
    with pytest.raises(MalformedRecord, match=said):
        from_json(Target, json.dumps(plain | damage))


def test_a_missing_field_is_named() -> None:
    with pytest.raises(MalformedRecord, match="runtime_version is missing"):
        from_json(Target, '{"runtime": "r"}')


@pytest.mark.parametrize("text", [b"\xff\x00", "é".encode("utf-16"), b'"\xed\xa0\x80"', '"\ud800"', "1" * 5000])
def test_text_that_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(MalformedRecord, match="not JSON"):
        from_json(Target, text)


@pytest.mark.parametrize("opening", ["[", '{"runtime":', '{"a":['])
@pytest.mark.parametrize("depth", [900, 200_000])
def test_no_depth_of_nesting_gets_in_or_out_of_hand(opening: str, depth: int) -> None:
    closing = "".join({"[": "]", "{": "}"}.get(letter, "") for letter in reversed(opening))
    for text in (opening * depth, opening * depth + "1" + closing * depth):
        with pytest.raises(MalformedRecord):
            from_json(Target, text)


@pytest.mark.parametrize("hostile", ["\\ud800", "x\\uDFFFx", "\\udc00\\ud800"])
def test_half_a_character_which_no_file_can_hold_is_refused_wherever_it_stands(hostile: str) -> None:
    plain = to_json(Target(runtime="RUNTIME", runtime_version="1", architecture="a", platform="p"))
    for text in (plain.replace("RUNTIME", hostile), plain.replace("runtime_version", hostile)):
        for form in (text, text.encode()):
            with pytest.raises(MalformedRecord, match="surrogate"):
                from_json(Target, form)
    assert from_json(Target, plain.replace("RUNTIME", "\\ud83d\\ude00")).runtime == "\U0001f600"


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 4000, str(2**63)])
def test_a_number_that_nothing_can_count_with_is_refused(number: str) -> None:
    file = f'{{"name": "a", "size": {number}, "sha256": "{"0" * 64}"}}'
    with pytest.raises(MalformedRecord, match=r"StoredFile\.size"):
        from_json(StoredFile, file)


def test_a_whole_number_too_large_for_a_fraction_is_refused() -> None:
    with pytest.raises(MalformedRecord, match=r"Tolerance\.max_error"):
        from_json(Tolerance, to_json(Tolerance(relative_l2=1, cosine=0, max_error=7.5)).replace("7.5", "1" + "0" * 400))


def test_a_record_whose_values_contradict_each_other_is_refused() -> None:
    plain = json.loads(to_json(Recipe()))
    with pytest.raises(MalformedRecord, match="calibration"):
        from_json(Recipe, json.dumps(plain | {"precision": Precision.INT8}))


@pytest.mark.parametrize("name", ["../x", "/x", "a/../x", "a//x", "./x", "", ".", "a\\x", "a\0x", "x/"])
def test_a_file_name_that_could_leave_its_folder_makes_no_record(name: str) -> None:
    files = json.dumps({"files": [{"name": name, "size": 1, "sha256": "0" * 64}], "entry": name})
    with pytest.raises(MalformedRecord, match="no plain relative file name"):
        from_json(FileSet, files)


def test_the_digest_of_a_file_set_tells_names_sizes_contents_and_entry_apart() -> None:
    def files(name: str = "a", size: int = 1, sha: str = "0", entry: str = "b") -> str:
        other = StoredFile("b", 2, "f" * 64)
        return FileSet((StoredFile(name, size, sha * 64), other), entry).digest

    assert len({files(), files(name="0"), files(size=3), files(sha="1"), files(entry="a")}) == 5


@given(st.lists(st.integers(0, 99), min_size=1, max_size=5).map(tuple), st.text(min_size=1, max_size=8))
def test_a_shape_is_read_as_it_is_shown(sizes: tuple[int, ...], name: str) -> None:
    shape = ShapeRange(name, sizes, sizes, sizes)
    if "\n" not in name:
        assert parse_shape(str(shape)) == shape


@pytest.mark.parametrize("text", ["", "x", "x=", "=1x3", "x=1:2", "x=1x-3", "x=1x3:2x3", "x=4:2:8", "x=1x3x", "x=a"])
def test_a_shape_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither|doesn't hold|differ in rank"):
        parse_shape(text)
