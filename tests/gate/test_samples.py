"""Samples: two forms, checked before anything is read."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from trtreg.core.signature import Signature, TensorSpec
from trtreg.errors import UsageError
from trtreg.gate.samples import read_sample

X = np.ones((2, 3), np.float32)
N = np.array(7, np.int64)
TAKES = Signature((TensorSpec("x", "float32", ("batch", 3)), TensorSpec("n", "int64", ())), ())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sample.npz"


def refusal(file: Path, takes: Signature = TAKES, **limits: int) -> UsageError:
    with pytest.raises(UsageError) as caught:
        list(read_sample(file, takes, **limits))
    return caught.value


def test_arrays_named_as_the_inputs_are_one_case(file: Path) -> None:
    np.savez(file, x=X, n=N, labels=np.arange(5))
    (case,) = read_sample(file, TAKES)
    assert set(case) == {"x", "n"}
    assert case["n"] == 7


def test_many_cases_come_in_the_order_of_their_numbers(file: Path) -> None:
    np.savez(file, **{f"case{i}/in/{k}": v for i in (10, 2, 0) for k, v in {"x": X * i, "n": N}.items()})
    assert [case["x"][0, 0] for case in read_sample(file, TAKES)] == [0, 2, 10]


def test_outputs_notes_and_cases_without_all_inputs_are_left_alone(file: Path) -> None:
    np.savez(file, **{"case0/in/x": X, "case0/in/n": N, "case0/out/y": X, "case1/in/x": X, "note": np.array("hello")})
    assert len(list(read_sample(file, TAKES))) == 1


def test_a_model_without_inputs_has_one_empty_case(file: Path) -> None:
    np.savez(file, note=np.array("nothing"))
    assert list(read_sample(file, Signature((), ()))) == [{}]


def test_names_that_the_model_does_not_know_are_refused_with_what_it_takes(file: Path) -> None:
    np.savez(file, images=X)
    error = refusal(file)
    assert "in it: images" in error.message
    assert error.hint == "the model takes x: float32[batchx3]; n: int64[]"


@pytest.mark.parametrize(
    "wrong", [X.astype(np.float64), X[0], np.ones((2, 4), np.float32)], ids=["type", "rank", "size"]
)
def test_a_wrong_type_rank_or_size_is_refused(file: Path, wrong: np.ndarray) -> None:
    np.savez(file, x=wrong, n=N)
    assert "but the model takes x: float32[batchx3]" in refusal(file).message


def test_objects_are_never_unpickled(file: Path) -> None:
    np.savez(file, x=np.array([{"a": 1}], object), n=N, allow_pickle=True)
    assert "unpickled" in refusal(file).message


def test_the_other_byte_order_is_turned(file: Path) -> None:
    np.savez(file, x=X.astype(">f4"), n=N)
    (case,) = read_sample(file, TAKES)
    assert case["x"].dtype == np.dtype("=f4")
    assert (case["x"] == X).all()


@pytest.mark.parametrize("text", [np.array(["grün", "b"]), np.array([b"a", b"b"])], ids=["text", "bytes"])
def test_strings_come_as_objects(file: Path, text: np.ndarray) -> None:
    np.savez(file, t=text)
    (case,) = read_sample(file, Signature((TensorSpec("t", "string", ("n",)),), ()))
    assert case["t"].dtype == object
    assert isinstance(case["t"][0], str)


def test_more_bytes_than_the_limit_are_refused_before_reading(file: Path) -> None:
    np.savez_compressed(file, x=np.zeros((1_000_000, 3), np.float32), n=N)
    assert file.stat().st_size < 100_000
    assert "more than 1000000 bytes" in refusal(file, limit=1_000_000).message


def test_an_array_that_claims_more_than_it_holds_is_refused(file: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 50, 3)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"\0" * 64)
        archive.writestr("n.npy", b"")
    assert "claims 13510798882111488 bytes" in refusal(file).message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x93NUMPY\x01\x00"], ids=["empty", "torn", "npy"])
def test_what_is_no_npz_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert "no readable .npz" in refusal(file).message


def test_an_absent_file_is_refused(file: Path) -> None:
    assert "no readable .npz" in refusal(file).message


def test_a_flipped_byte_in_an_array_is_noticed(file: Path) -> None:
    np.savez(file, x=X, n=N)
    content = bytearray(file.read_bytes())
    content[content.index(X.tobytes()) + 5] ^= 1
    file.write_bytes(content)
    assert "CRC" in refusal(file).message


@pytest.mark.data
def test_every_shared_sample_can_be_read(shared_data: Path) -> None:
    takes = Signature((TensorSpec("bytes", "int32", ("batch", 2048)),), ())
    (case,) = read_sample(shared_data / "samples" / "magika_v3_2.npz", takes)
    assert case["bytes"].shape == (68, 2048)
