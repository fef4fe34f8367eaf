"""PyTorch files told apart, and looked at before they are loaded."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import pytest

from small_models import write_classifier
from trtreg.core.preparation import Preparation, PrepareOrder
from trtreg.core.recipe import parse_shape
from trtreg.errors import Untrusted, UnusableModel, UsageError
from trtreg.exporting.programs import ProgramKind, program_kind, require_loadable
from trtreg.testing import SilentProgress
from trtreg.workshop.preparing import prepare


def _archive(path: Path, **texts: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            archive.writestr(f"net/{name.replace('__', '/')}", text)
    return path


def _script(path: Path, code: str) -> Path:
    return _archive(path, **{"data.pkl": "", "constants.pkl": "", "code__net.py": code})


def _exported(path: Path, **members: object) -> Path:
    return _archive(path, **{"archive_format": "pt2", "models__model.json": json.dumps(members)})


def test_the_kinds_are_told_by_what_is_in_the_archive(tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    assert program_kind(_script(tmp_path / "s.pt", "")) is ProgramKind.TORCHSCRIPT
    assert program_kind(_exported(tmp_path / "e.pt2")) is ProgramKind.EXPORTED
    assert program_kind(_archive(tmp_path / "c.pt", **{"data.pkl": ""})) is ProgramKind.CHECKPOINT
    assert program_kind(tmp_path / "old.pt") is ProgramKind.CHECKPOINT
    assert program_kind(_archive(tmp_path / "other.zip", a="")) is None


@pytest.mark.parametrize("code", ["torch.save(x, 'f')", "y = torch.from_file('f')", "ops.aten.from_file('f')"])
def test_a_script_that_opens_files_is_not_loaded(code: str, tmp_path: Path) -> None:
    file = _script(tmp_path / "s.pt", f"def forward(self, x):\n  {code}\n")
    with pytest.raises(Untrusted, match="opens files"):
        require_loadable(file, ProgramKind.TORCHSCRIPT)
    require_loadable(_script(tmp_path / "fine.pt", "return torch.relu(x)"), ProgramKind.TORCHSCRIPT)


@pytest.mark.parametrize(
    "members",
    [
        {"guards_code": ["__import__('os')"]},
        {"a": [{"expr_str": "__import__('os').system('true')"}]},
        {"expr_str": "eval('1')"},
        {"expr_str": "s0.__class__"},
        {"expr_str": "(s0).args"},
        {"target": "torch.hub.load"},
        {"target": "torch.ops.aten.add;import os"},
        {"name": "x):\n import os\ndef f("},
        {"config": {"w": {"use_pickle": True}}},
    ],
)
def test_a_program_whose_texts_would_be_run_is_not_loaded(members: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(Untrusted) as refusal:
        require_loadable(_exported(tmp_path / "e.pt2", **members), ProgramKind.EXPORTED)
    assert "--unsafe-code" in refusal.value.hint


def test_formulas_of_sizes_and_operators_pass(tmp_path: Path) -> None:
    members = {
        "guards_code": [],
        "formulas": [{"expr_str": "Symbol('s34', positive=True, integer=True)"}, {"expr_str": "2*s0 + Max(1, s1//2)"}],
        "nodes": [{"target": "torch.ops.aten.conv2d.default"}, {"target": "_operator.mul"}, {"target": "b_running"}],
        "name": "p_conv_weight",
        "use_pickle": False,
    }
    require_loadable(_exported(tmp_path / "e.pt2", **members), ProgramKind.EXPORTED)


def test_an_archive_that_is_damaged_is_unusable(tmp_path: Path) -> None:
    file = _archive(tmp_path / "e.pt2", **{"archive_format": "pt2", "models__model.json": "{"})
    with pytest.raises(UnusableModel, match="can't be read"):
        require_loadable(file, ProgramKind.EXPORTED)
    whole = _script(tmp_path / "s.pt", "x" * 1000).read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnusableModel):
        _prepared(tmp_path / "half.pt", tmp_path)


def _prepared(file: Path, tmp_path: Path, **wanted: object) -> object:
    (tmp_path / "work").mkdir()
    order = PrepareOrder(file=file, folder=tmp_path / "work", preparation=Preparation(**wanted))  # type: ignore[arg-type]
    return prepare(order, SilentProgress())


class _Telltale:
    """Leaves a file where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def test_a_checkpoint_is_refused_before_anything_in_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(_Telltale(tmp_path / "it-ran")))
    with pytest.raises(Untrusted) as refusal:
        _prepared(file, tmp_path)
    assert "runs whatever code is in it" in refusal.value.message
    assert not (tmp_path / "it-ran").exists()


def test_what_is_for_programs_means_nothing_to_an_onnx_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no PyTorch or TensorFlow file"):
        _prepared(write_classifier(tmp_path / "net.onnx"), tmp_path, inputs=(parse_shape("images=1x3x16x16"),))


def test_without_pytorch_a_program_is_answered_by_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")  # Put back afterwards.
    with pytest.raises(UsageError) as refusal:
        _prepared(_script(tmp_path / "s.pt", "return x"), tmp_path)
    assert "trtreg[torch]" in refusal.value.hint
