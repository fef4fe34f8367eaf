"""PyTorch's own exporters, on programs made here. They take gigabytes to install: `make test-torch` runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trtreg.core.limits import Limits
from trtreg.core.preparation import Preparation, Prepared, PrepareOrder
from trtreg.core.recipe import parse_shape
from trtreg.errors import Untrusted, UnusableModel, UsageError
from trtreg.onnx_models.examine import examine
from trtreg.testing import SilentProgress
from trtreg.workshop.supervisor import ChildWorkshop

pytestmark = pytest.mark.torch

_CLASSES = '''
import torch


class Net(torch.nn.Module):
    """`images` → Conv → SiLU, which opsets before 14 lack → mean → Linear."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.fc = torch.nn.Linear(8, 4)
        self.inplace = True

    def forward(self, images):
        return self.fc(torch.nn.functional.silu(self.conv(images)).mean((2, 3)))


class Twins(Net):
    def forward(self, images, scale):
        out = super().forward(images)
        return out, {"scaled": out * scale.float()}
'''

_MAKE = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
from their_code import Net, Twins

folder, net = sys.argv[1], Net().eval()
image = torch.rand(2, 3, 16, 16)
torch.jit.script(net).save(f"{folder}/script.pt")
torch.jit.trace(net, image).save(f"{folder}/traced.pt")
torch.export.save(torch.export.export(net, (image,)), f"{folder}/fixed.pt2")
sizes = {"images": {0: torch.export.Dim("batch", min=1, max=64)}}
torch.export.save(torch.export.export(net, (image,), dynamic_shapes=sizes), f"{folder}/open.pt2")
torch.save({"epoch": 3, "model": Twins(), "ema": net}, f"{folder}/checkpoint.pt")
torch.save({"model": Twins(), "ema": None}, f"{folder}/twins.pt")
torch.save(net.state_dict(), f"{folder}/weights.pt")
torch.save(net, f"{folder}/old.pt", _use_new_zipfile_serialization=False)
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs, made in another process: torch's import isn't for this one."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "code").mkdir()
    (folder / "code" / "their_code.py").write_text(_CLASSES)
    (folder / "code" / "make.py").write_text(_MAKE)
    subprocess.run([sys.executable, folder / "code" / "make.py", folder], check=True, capture_output=True)
    return folder


def _prepared(file: Path, tmp_path: Path, **wanted: object) -> Prepared:
    folder = tmp_path / "work"
    folder.mkdir()
    order = PrepareOrder(file=file, folder=folder, preparation=Preparation(**wanted))  # type: ignore[arg-type]
    return ChildWorkshop(Limits(seconds=300, memory=8 << 30)).prepare(order, SilentProgress())


@pytest.mark.parametrize("name", ["script", "traced"])
def test_torchscript_becomes_onnx_that_computes_the_same(name: str, programs: Path, tmp_path: Path) -> None:
    prepared = _prepared(programs / f"{name}.pt", tmp_path, inputs=(parse_shape("images=1x3x16x16"),))
    (step,) = prepared.lineage.steps
    facts = examine(prepared.path)
    assert [str(s) for s in facts.signature.inputs] == ["images: float32[1x3x16x16]"]
    assert [s.name for s in facts.signature.outputs] == ["output"]
    assert step.parameters["from"] == "TorchScript program"
    assert int(step.parameters["opset"]) == facts.opset >= 17
    assert "torch" in step.versions
    assert "the same outputs as PyTorch's" in step.notes[-1]
    assert prepared.lineage.given.entry == f"{name}.pt"


def test_an_opset_that_there_is_not_is_told(programs: Path, tmp_path: Path) -> None:
    wanted = {"inputs": (parse_shape("images=1x3x16x16"),), "opset": 99}
    with pytest.raises(UnusableModel) as refusal:
        _prepared(programs / "script.pt", tmp_path, **wanted)
    assert "opset 99" in refusal.value.message


@pytest.mark.parametrize(("name", "size"), [("fixed", "2"), ("open", "s")])
def test_an_exported_program_knows_its_inputs(name: str, size: str, programs: Path, tmp_path: Path) -> None:
    prepared = _prepared(programs / f"{name}.pt2", tmp_path)
    (spec,) = examine(prepared.path).signature.inputs
    assert spec.name == "images"
    assert str(spec.dimensions[0]).startswith(size)
    assert "the same outputs as PyTorch's" in prepared.lineage.steps[0].notes[-1]


def test_the_steps_after_exporting_are_done_too(programs: Path, tmp_path: Path) -> None:
    prepared = _prepared(
        programs / "open.pt2", tmp_path, shapes=(parse_shape("images=4x3x16x16"),), rename=("linear=scores",)
    )
    assert [step.name for step in prepared.lineage.steps] == ["export", "rename", "fix-shape"]
    assert str(examine(prepared.path).signature.outputs[0]) == "scores: float32[4x4]"


def test_a_checkpoint_asks_for_the_flag_and_for_its_code(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: dict[str, object] = {"inputs": (parse_shape("images=1x3x16x16"),)}
    with pytest.raises(Untrusted):
        _prepared(programs / "checkpoint.pt", tmp_path / _made(tmp_path, "a"), **wanted)
    with pytest.raises(UsageError) as refusal:
        _prepared(programs / "checkpoint.pt", tmp_path / _made(tmp_path, "b"), unsafe_code=True, **wanted)
    assert "No module named 'their_code'" in refusal.value.message
    assert "PYTHONPATH" in refusal.value.hint

    monkeypatch.setenv("PYTHONPATH", str(programs / "code"), prepend=":")
    prepared = _prepared(programs / "checkpoint.pt", tmp_path / _made(tmp_path, "c"), unsafe_code=True, **wanted)
    notes = prepared.lineage.steps[0].notes
    assert "taken from the checkpoint's 'ema'" in notes
    old = _prepared(programs / "old.pt", tmp_path / _made(tmp_path, "d"), unsafe_code=True, **wanted)
    assert examine(old.path).parameters == examine(prepared.path).parameters


def test_inputs_of_other_types_and_several_outputs_keep_their_order(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(programs / "code"), prepend=":")
    inputs = (parse_shape("images=1x3x16x16"), parse_shape("scale=1"))
    prepared = _prepared(programs / "twins.pt", tmp_path, unsafe_code=True, inputs=inputs, dtypes={"scale": "int64"})
    signature = examine(prepared.path).signature
    assert [str(s) for s in signature.inputs] == ["images: float32[1x3x16x16]", "scale: int64[1]"]
    assert [s.name for s in signature.outputs] == ["output0", "output1"]


@pytest.mark.parametrize("shape", ["images=1x4x16x16", "images=3"])
def test_an_example_that_does_not_fit_is_told(shape: str, programs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        _prepared(programs / "script.pt", tmp_path, inputs=(parse_shape(shape),))
    assert "doesn't run with" in refusal.value.message


def test_weights_alone_are_no_model(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        _prepared(programs / "weights.pt", tmp_path, unsafe_code=True)
    assert "weights without the program" in refusal.value.message


def _made(folder: Path, name: str) -> str:
    (folder / name).mkdir()
    return name
