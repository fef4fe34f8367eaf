"""What a file is, from its bytes."""

from __future__ import annotations

import gzip
import io
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_models.forms import branching, move_outside, save
from trtreg.core.plan_header import HEADER_SIZE, is_plan, read_plan_header
from trtreg.errors import NotFound, UnusableModel, UsageError
from trtreg.onnx_models.inspection import ADVISORY, inspect_file

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:57a2\nsize 28959138\n"


def rtx_plan(
    *,
    version: tuple[int, int, int, int] = (1, 7, 1, 116),
    architectures: int = 0b1000,
    cuda: int = 0,
    weights: int = 1000,
    body: int = 36,
) -> bytes:
    """A TensorRT-RTX plan: its header of 64 bytes, and a body of nothing."""
    return (
        b"vtrt"
        + struct.pack("<IQQ", 0, 0, HEADER_SIZE + body)
        + bytes(version)
        + bytes(4)
        + struct.pack("<QQQQ", architectures, 0, cuda, weights)
        + bytes(body)
    )


def plan(version: tuple[int, int, int, int] = (10, 13, 3, 9)) -> bytes:
    return b"ftrt" + bytes(20) + bytes(version) + bytes(100)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# --- headers of plans --------------------------------------------------------------------------------------


def test_an_rtx_header_tells_version_architectures_size_and_weights() -> None:
    header = read_plan_header(rtx_plan(architectures=0b11110, cuda=12090))
    assert (header.flavour, header.version) == ("tensorrt-rtx", "1.7.1.116")
    assert header.architectures == ("sm_80", "sm_86", "sm_89", "sm_120")
    assert (header.cuda, header.weight_bytes, header.file_size) == ("12.9", 1000, 100)


@pytest.mark.parametrize(
    ("release", "bit", "architecture"),
    [((1, 4), 5, "future"), ((1, 7), 5, "sm_121"), ((1, 7), 6, "future"), ((1, 4), 6, "bit 6"), ((1, 7), 0, "sm_75")],
)
def test_a_bit_means_what_it_means_in_its_release(release: tuple[int, int], bit: int, architecture: str) -> None:
    header = read_plan_header(rtx_plan(version=(*release, 0, 1), architectures=1 << bit))
    assert header.architectures == (architecture,)


def test_an_unknown_release_gets_no_names_for_its_bits() -> None:
    header = read_plan_header(rtx_plan(version=(2, 0, 0, 1), architectures=0b1000))
    assert header.architectures == ()
    assert header.architecture_mask == 0b1000


def test_a_tensorrt_header_tells_the_version_and_nothing_else() -> None:
    header = read_plan_header(plan())
    assert (header.flavour, header.version, header.file_size) == ("tensorrt", "10.13.3.9", None)
    assert not header.is_cut_off(1)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_header_or_a_value_error(content: bytes) -> None:
    try:
        assert read_plan_header(content).version
    except ValueError:
        assert not is_plan(content) or len(content) < HEADER_SIZE


@given(st.integers(0, HEADER_SIZE - 1))
def test_a_header_that_is_cut_off_says_where(length: int) -> None:
    with pytest.raises(ValueError, match=rf"after {length} of its header's 64 bytes" if length >= 8 else "it begins"):
        read_plan_header(rtx_plan()[:length])


# --- plan files --------------------------------------------------------------------------------------------


def test_an_rtx_plan_is_described_with_the_warning_that_headers_are_advisory(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path / "engine", rtx_plan()))
    assert found.kind == "TensorRT-RTX plan"
    assert found.details["architectures"] == "sm_89"
    assert found.notes == (ADVISORY,)
    assert found.problem == ""


def test_a_plan_that_is_cut_off_says_both_sizes(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path / "engine", rtx_plan()[:-10]))
    assert found.problem == "its header says 100 bytes, there are 90: cut off or damaged"
    assert "64 bytes" in inspect_file(write(tmp_path / "engine", rtx_plan()[:40])).problem


def test_a_mask_of_an_unknown_release_is_shown_as_it_is(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path / "engine", rtx_plan(version=(9, 1, 0, 0), architectures=0x28)))
    assert "mask 0x28" in found.details["architectures"]


def test_a_tensorrt_plan_shows_its_version(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path / "engine", plan()))
    assert (found.kind, found.details["version"]) == ("TensorRT plan", "10.13.3.9")


@pytest.mark.parametrize("inner", [plan(), rtx_plan()])
def test_an_engine_of_ultralytics_shows_its_prefix_and_its_plan(inner: bytes, tmp_path: Path) -> None:
    text = json.dumps({"task": "detect", "imgsz": [640, 640], "evil": "\x1b[2J"}).encode()
    found = inspect_file(write(tmp_path / "yolo.engine", struct.pack("<I", len(text)) + text + inner))
    assert found.kind.endswith("behind a JSON prefix")
    assert found.details["prefix task"] == "detect"
    assert found.details["prefix evil"] == "?[2J"
    assert found.details["version"] in ("10.13.3.9", "1.7.1.116")
    assert f"begins at byte {4 + len(text)}" in found.notes[0]
    assert found.problem == ""


def test_a_prefix_with_nothing_behind_it_is_a_problem(tmp_path: Path) -> None:
    text = b'{"task": "detect"}'
    found = inspect_file(write(tmp_path / "yolo.engine", struct.pack("<I", len(text)) + text))
    assert "it begins with nothing" in found.problem


def test_inspecting_a_plan_imports_no_onnx(tmp_path: Path) -> None:
    write(tmp_path / "engine", rtx_plan())
    code = (
        "import pathlib, sys; from trtreg.onnx_models.inspection import inspect_file;"
        f"inspect_file(pathlib.Path({str(tmp_path / 'engine')!r}));"
        "print({'onnx', 'numpy', 'onnxruntime', 'google.protobuf'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "set()"


# --- ONNX and ONNX Runtime ---------------------------------------------------------------------------------


def test_a_model_comes_with_its_facts(tmp_path: Path) -> None:
    found = inspect_file(save(move_outside(branching(), tmp_path), tmp_path / "m.onnx"))
    assert found.kind == "ONNX model"
    assert found.facts is not None
    assert found.facts.operators["If"] == 1
    assert found.details["external data"] == "weights.bin"


@pytest.mark.data
def test_what_onnxruntime_saved_after_optimising_is_told_from_a_model(shared_data: Path, tmp_path: Path) -> None:
    for name, suffix, kind in (
        ("mnist-8", ".onnx", "ONNX Runtime plan (optimised ONNX)"),
        ("mnist-8", ".ort", "ONNX Runtime flatbuffer (.ort)"),
    ):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(tmp_path / f"plan{suffix}")
        source = shared_data / "models" / f"{name}.onnx"
        ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        assert inspect_file(tmp_path / f"plan{suffix}").kind == kind


@pytest.mark.data
def test_every_hostile_file_is_answered_not_refused(shared_data: Path) -> None:
    for path in sorted((shared_data / "hostile").iterdir()):
        found = inspect_file(path)
        assert found.size == path.stat().st_size
        assert bool(found.problem) == (path.name not in ("nan_weights.onnx", "zero_bytes.onnx")), path.name


@pytest.mark.data
def test_an_operator_set_that_is_not_imported_is_mentioned(shared_data: Path) -> None:
    notes = inspect_file(shared_data / "tricky" / "custom_op_node.onnx").notes
    assert "operator sets used and not imported: ai.onnx.contrib" in notes


# --- other files -------------------------------------------------------------------------------------------


def zip_of(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return content.getvalue()


def safetensors() -> bytes:
    entry = {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "w": entry}, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header + bytes(2)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "empty file"),
        (POINTER.encode(), "Git LFS pointer"),
        (gzip.compress(b"x", mtime=0), "gzip archive"),
        (zip_of("a.npy", "b.npy"), "NumPy archive (.npz)"),
        (zip_of("model/data.pkl", "model/data/0"), "PyTorch checkpoint"),
        (zip_of("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"), "TorchScript program"),
        (zip_of("readme.txt"), "zip archive"),
        (zip_of(), "zip archive"),
        (safetensors(), "safetensors file"),
        (b"\x80\x02}q\x00.", "Python pickle"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(40), "TensorFlow Lite model"),
        (b"GGUF\x03\x00", "GGUF model"),
        (b"plain words", "file without a known mark"),
        (b"\x00", "file without a known mark"),
    ],
)
def test_a_file_is_known_by_its_first_bytes(content: bytes, kind: str, tmp_path: Path) -> None:
    assert inspect_file(write(tmp_path / "file", content)).kind == kind


def test_a_real_npz_lists_its_members(tmp_path: Path) -> None:
    np.savez(tmp_path / "sample.npz", a=np.zeros(2), b=np.ones(3))
    assert inspect_file(tmp_path / "sample.npz").details == {"members": "2", "first": "a.npy, b.npy"}


def test_a_checkpoint_is_not_unpickled_and_says_why(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path / "m.pt", zip_of("m/data.pkl")))
    assert "runs whatever code" in found.notes[0]


def test_safetensors_are_counted_by_type(tmp_path: Path) -> None:
    assert inspect_file(write(tmp_path / "w", safetensors())).details == {"tensors": "1", "dtypes": "F16"}


def test_a_pointer_names_the_file_that_it_stands_for(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path / "m.onnx", POINTER.encode()))
    assert found.details == {"oid": "sha256:57a2", "size": "28959138"}
    assert "git lfs pull" in found.problem


def test_a_broken_archive_is_a_problem_and_no_error(tmp_path: Path) -> None:
    assert "can't be read" in inspect_file(write(tmp_path / "a.zip", zip_of("a")[:-5])).problem


@given(
    content=st.binary(max_size=200), mark=st.sampled_from([b"", b"ftrt", b"vtrt\0\0\0\0", b"PK\x03\x04", b"\x08\x08"])
)
def test_any_bytes_get_an_answer(content: bytes, mark: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.getbasetemp() / "anything", mark + content)
    assert inspect_file(path).kind


def test_what_is_not_there_a_folder_and_a_device_are_errors(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        inspect_file(tmp_path / "absent")
    with pytest.raises(UsageError):
        inspect_file(tmp_path)
    with pytest.raises(UnusableModel):
        inspect_file(Path("/dev/zero"))
