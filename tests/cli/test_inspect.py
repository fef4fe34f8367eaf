"""trtreg inspect: what any file is."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cli.conftest import Console
from small_models import write_classifier


def _onnx(path: Path) -> None:
    write_classifier(path)


def _npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, x=np.zeros(3))


def _safetensors(path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def _checkpoint(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"never unpickled")


def _torchscript(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"model/{name}", b"never run")


def _pointer(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n")


_SOUND = {
    "ONNX model": _onnx,
    "NumPy archive (.npz)": _npz,
    "safetensors": _safetensors,
    "PyTorch checkpoint": _checkpoint,
    "TorchScript program": _torchscript,
}


@pytest.mark.parametrize("kind", _SOUND)
def test_a_sound_file_is_named_without_being_loaded(bare_console: Console, tmp_path: Path, kind: str) -> None:
    _SOUND[kind](tmp_path / "file")

    answer = bare_console("inspect", tmp_path / "file")

    assert (answer.code, answer.err) == (0, "")
    assert kind.lower() in answer.out.splitlines()[0].lower()
    assert kind.lower() in bare_console("inspect", tmp_path / "file", "--json").json["kind"].lower()


def test_an_engine_of_ours_is_told_from_its_model(console: Console) -> None:
    plan = Path(console("--quiet", "get", "tiny").line)

    assert console("inspect", plan).out.startswith("ONNX")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"just a text\n", "aren't an ONNX model"),
        (b"\x08\x08\x12\x04abc", ""),
        (struct.pack("<Q", 1 << 20) + b'{"a":1}', ""),
        (b"PK\x03\x04" + bytes(60), "can't be read"),
    ],
    ids=["text", "torn ONNX", "torn safetensors", "torn archive"],
)
def test_a_file_that_cannot_be_used_is_8_and_still_told_of(
    bare_console: Console, tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "file").write_bytes(content)

    answer = bare_console("inspect", tmp_path / "file")

    assert answer.code == 8, answer
    assert "MB" in answer.out.splitlines()[0]
    (refusal,) = answer.err.splitlines()
    assert refusal.startswith(f"error: {tmp_path}/file: ")
    assert refusal.count("file: ") == 1
    assert said in answer.out + answer.err


def test_a_file_is_looked_at_within_the_limits(bare_console: Console, tmp_path: Path) -> None:
    _onnx(tmp_path / "file")

    refused = bare_console("--memory-limit", "0.03", "inspect", tmp_path / "file").refused(8)

    assert "more than the 0.03 GiB of memory" in refused


def test_what_is_known_of_a_plan_is_shown_in_its_order(bare_console: Console, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        archive.writestr("a", b"")

    assert [line.split()[0] for line in bare_console("inspect", tmp_path / "file").out.splitlines()[1:]] == [
        "members",
        "first",
    ]


def test_a_pointer_to_a_file_elsewhere_is_8(bare_console: Console, tmp_path: Path) -> None:
    _pointer(tmp_path / "file")

    answer = bare_console("inspect", tmp_path / "file")

    assert answer.code == 8
    assert "Git LFS pointer" in answer.out


def test_what_is_no_regular_file_is_refused(bare_console: Console, tmp_path: Path) -> None:
    assert bare_console("inspect", tmp_path).refused(2)
    assert bare_console("inspect", "/dev/zero").refused(8)
    assert bare_console("inspect", tmp_path / "none").refused(3)


@pytest.mark.data
def test_real_and_hostile_files_all_have_an_answer(bare_console: Console, shared_data: Path) -> None:
    for file in sorted(shared_data.glob("*/*.onnx")) + sorted(shared_data.glob("samples/*.npz"))[:3]:
        answer = bare_console("inspect", file)
        assert answer.code in (0, 8), answer
        assert answer.out
        assert "Traceback" not in answer.err
