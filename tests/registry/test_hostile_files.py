"""Every hostile and every tricky file through the whole command: a right result, or a refusal that says why."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.running import COMMAND

pytestmark = [pytest.mark.data, pytest.mark.slow]

_ADD, _FP32, _FP16 = "model add", "get --fp32", "get --fp16"
_DONE = (0, "")
_SERVED = {_ADD: _DONE, _FP32: _DONE, _FP16: _DONE}
_UNKNOWN_OPERATOR = (8, "has an operator that ONNX Runtime doesn't have")

# By file and call: the exit code, and words of the reason. What changes here changes what users see.
_EXPECTED: dict[str, dict[str, tuple[int, str]]] = {
    "hostile/cycle": {_ADD: (8, "its nodes form a cycle")},
    "hostile/ext_absolute": {_ADD: (8, "outside the model's folder")},
    "hostile/ext_dotdot": {_ADD: (8, "outside the model's folder")},
    "hostile/lfs_pointer_yolov5s": {_ADD: (8, "Git LFS pointer")},
    "hostile/nan_weights": {
        _ADD: _DONE,
        _FP32: (5, "6 of 12 values are NaN or infinite"),
        _FP16: (5, "6 of 12 values are NaN or infinite"),
    },
    "hostile/raw_data_short": {_ADD: (8, "raw_data has 7 bytes, while float32[1, 4] takes 16")},
    "hostile/truncated_60pc": {_ADD: (8, "not a whole one")},
    "hostile/zero_bytes": {_ADD: (8, "empty file")},
    "tricky/bad_graph_with_duplicate_node_names": {
        _ADD: _DONE,
        _FP32: (8, "two nodes with same node name"),
        _FP16: (4, "two nodes with same node name"),
    },
    "tricky/bert_tokenizer_ext": {_ADD: _DONE, _FP32: _UNKNOWN_OPERATOR, _FP16: _UNKNOWN_OPERATOR},
    "tricky/custom_op_node": {_ADD: _DONE, _FP32: _UNKNOWN_OPERATOR, _FP16: (8, "types can't be inferred")},
    "tricky/ext_weights": _SERVED,
    "tricky/loop": _SERVED,
    "tricky/matmul.bf16": {
        _ADD: _DONE,
        _FP32: (8, "Could not find an implementation for MatMul(13)"),
        _FP16: (4, "Could not find an implementation for MatMul(13)"),
    },
    "tricky/multi_output": _SERVED,
    "tricky/nonzero": _SERVED,
    "tricky/qdq_conv": _SERVED,
    "tricky/test_if_seq": {
        _ADD: _DONE,
        _FP32: (8, "inputs and outputs must be tensors"),
        _FP16: (8, "inputs and outputs must be tensors"),
    },
    "tricky/unbounded_dds": _SERVED,
}

_CALLS = [(file, call) for file, calls in _EXPECTED.items() for call in calls]
_IDS = [f"{call} {file}" for file, call in _CALLS]

# Each Python process of the command notes what it opens; the hook can't be taken out again by what runs after it.
_NOTING = """
import os, sys

_notes = os.open({notes!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def _note(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        os.write(_notes, os.path.realpath(os.fsencode(arguments[0])) + b"\\n")

sys.addaudithook(_note)
"""


@dataclass(frozen=True)
class Outcome:
    """What a call came to. `opened` are the files that Python code opened, links resolved."""

    code: int
    out: str
    err: str
    opened: frozenset[Path]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def outcomes(workplace: Path, shared_data: Path) -> dict[tuple[str, str], Outcome]:
    """Of all calls, made once; two files at a time, all in one registry."""
    with ThreadPoolExecutor(2) as together:
        found = list(together.map(lambda file: _through(file, workplace, shared_data), _EXPECTED))
    return {(file, call): outcome for file, calls in zip(_EXPECTED, found, strict=True) for call, outcome in calls}


def _through(file: str, workplace: Path, shared_data: Path) -> list[tuple[str, Outcome]]:
    name = Path(file).name
    calls = {
        _ADD: ["model", "add", name, os.fspath(shared_data / f"{file}.onnx")],
        _FP32: ["get", name, "--fp32"],
        _FP16: ["get", name, "--fp16"],
    }
    found: list[tuple[str, Outcome]] = []
    for call, arguments in calls.items():
        found.append((call, _observed(workplace, f"{name}-{call}", arguments)))
        if found[-1][1].code and call == _ADD:
            break
    return found


def _observed(workplace: Path, label: str, arguments: list[str]) -> Outcome:
    hook, notes = workplace / label, workplace / label / "opened"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(_NOTING.format(notes=os.fspath(notes)))
    done = subprocess.run(
        [*COMMAND, "--home", workplace / "home", "--time-limit", "60", "--memory-limit", "4", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([os.fspath(hook), os.environ.get("PYTHONPATH", "")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": os.fspath(workplace),
        },
        cwd=workplace,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    opened = frozenset(Path(os.fsdecode(line)) for line in notes.read_bytes().splitlines())
    return Outcome(done.returncode, done.stdout, done.stderr, opened)


def test_every_file_is_here(shared_data: Path) -> None:
    there = {f"{p.parent.name}/{p.stem}" for p in shared_data.glob("*/*.onnx")}

    assert set(_EXPECTED) == {file for file in there if file.startswith(("hostile/", "tricky/"))}


@pytest.mark.parametrize(("file", "call"), _CALLS, ids=_IDS)
def test_a_file_is_served_or_refused_for_a_stated_reason(
    outcomes: dict[tuple[str, str], Outcome], file: str, call: str
) -> None:
    code, reason = _EXPECTED[file][call]
    outcome = outcomes[file, call]

    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    assert len(outcome.out.splitlines()) == (code == 0)
    refusals = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(refusals) == (code != 0)
    assert all(reason in refusal for refusal in refusals)
    assert all(line.startswith(("building ", "error: ", "hint: ")) for line in outcome.err.splitlines())


@pytest.mark.parametrize(("file", "call"), _CALLS, ids=_IDS)
def test_no_file_outside_the_models_folder_is_opened(
    outcomes: dict[tuple[str, str], Outcome], file: str, call: str, workplace: Path, shared_data: Path
) -> None:
    """Beside it there is Python itself, trtreg with its libraries, its home, and what the system tells of itself."""
    code = [sys.prefix, sys.base_prefix, *_folders_of_code()]
    own = [shared_data / Path(file).parent, workplace]
    system = ["/proc", "/sys/devices/system/cpu", "/dev", "/etc/os-release"]
    allowed = [Path(p).resolve() for p in (*code, *own, *system)]

    opened = outcomes[file, call].opened

    assert shared_data.resolve() / f"{file}.onnx" in opened or call != _ADD
    assert not [p for p in opened if not any(p.is_relative_to(a) for a in allowed)]


def _folders_of_code() -> list[Path]:
    import trtreg
    import trtreg_cli
    import trtreg_migrations

    packages = (trtreg, trtreg_cli, trtreg_migrations)
    return [Path(p.__file__).parent for p in packages if p.__file__]


def test_what_the_gate_rejects_of_them_is_out_of_reach_of_get(
    outcomes: dict[tuple[str, str], Outcome], workplace: Path
) -> None:
    assert outcomes["hostile/nan_weights", _FP32].code == 5
    done = subprocess.run(
        [*COMMAND, "--home", workplace / "home", "get", "nan_weights", "--no-build"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (3, "")
