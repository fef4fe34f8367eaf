"""This machine as a target: asked once, remembered, and asked again when the answer may be another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import onnxruntime
import pytest

from trtreg import probing
from trtreg.core.target import Target
from trtreg.errors import UsageError
from trtreg.probing import Available, Missing, choose, probe_onnxruntime, survey
from trtreg.probing import onnxruntime as probe_module
from trtreg.probing.machine import architecture, cpu_identity, platform

AVX2 = """processor\t: 0
model name\t: A CPU
flags\t\t: fpu avx2
cpu MHz\t\t: 2000.1

processor\t: 1
flags\t\t: none
"""


class Memory:
    """Notes in a dictionary."""

    def __init__(self) -> None:
        self.notes: dict[tuple[str, str], dict[str, object]] = {}

    def recall(self, kind: str, subject: str) -> dict[str, object] | None:
        return self.notes.get((kind, subject))

    def remember(self, kind: str, subject: str, value: Mapping[str, object]) -> None:
        self.notes[kind, subject] = dict(value)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path with a package called onnxruntime that fails when it is imported."""
    package = tmp_path / "site" / "onnxruntime"
    (package / "capi").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('libcudart.so.13:\\n no such file')")
    monkeypatch.setattr(sys, "path", [str(package.parent)])
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    return package


def remembering(version: str = "1.0", layout: str = "abc") -> Memory:
    """Notes that know the answer for the installation on the import path and this CPU."""
    memory = Memory()
    package = probe_module._package()
    assert package is not None
    subject = probe_module._subject(package, cpu_identity())
    memory.remember("onnxruntime-probe", subject, {"version": version, "layout": layout})
    return memory


def test_the_target_names_version_cpu_and_layout() -> None:
    finding = probe_onnxruntime(Memory())
    assert isinstance(finding, Available)
    target = finding.target
    assert (target.runtime, target.runtime_version) == ("onnxruntime", onnxruntime.__version__)
    assert target.platform == f"linux-{target.architecture}"
    assert re.fullmatch(r"[0-9a-f]{12}", target.layout)
    assert target.device == target.cuda == ""


def test_a_remembered_answer_is_the_answer() -> None:
    memory = Memory()
    assert probe_onnxruntime(memory) == probe_onnxruntime(memory)
    assert len(memory.notes) == 1


def test_a_remembered_answer_imports_no_runtime(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from trtreg.probing import choose
from trtreg.storage.notes import Notes
print(choose("auto", notes=Notes(Path(sys.argv[1]))).target)
print(sorted({"onnxruntime", "numpy", "onnx", "importlib.metadata"} & set(sys.modules)))
"""
    runs = [
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    first, second = (run.splitlines() for run in runs)
    assert first[0] == second[0]
    assert "onnxruntime" in first[1]
    assert second[1] == "[]"


def test_the_memory_is_trusted_without_asking(installed: Path) -> None:
    finding = probe_onnxruntime(remembering(version="9.9", layout="remembered"))
    assert isinstance(finding, Available)
    assert (finding.target.runtime_version, finding.target.layout) == ("9.9", "remembered")


def test_an_upgrade_is_noticed(installed: Path) -> None:
    memory = remembering()
    (installed / "__init__.py").rename(installed / "old")
    (installed / "__init__.py").write_text((installed / "old").read_text())
    assert isinstance(probe_onnxruntime(memory), Missing)


def test_another_library_in_the_same_package_is_noticed(installed: Path) -> None:
    memory = remembering()
    (installed / "capi" / "libonnxruntime.so.2").touch()
    os.utime(installed / "capi", (1, 1))
    assert isinstance(probe_onnxruntime(memory), Missing)


def test_another_cpu_is_noticed(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = remembering()
    monkeypatch.setattr(probe_module, "cpu_identity", lambda: {"flags": "avx2 avx512f"})
    assert isinstance(probe_onnxruntime(memory), Missing)


@pytest.mark.parametrize("note", [{}, {"version": "1"}, {"layout": "abc"}, {"version": "", "layout": None}])
def test_a_note_that_lacks_something_is_asked_again(note: dict[str, object]) -> None:
    memory = remembering()
    [(kind, subject)] = memory.notes
    memory.remember(kind, subject, note)
    finding = probe_onnxruntime(memory)
    assert isinstance(finding, Available)
    assert finding.target.runtime_version == onnxruntime.__version__


def test_no_installation_is_missing_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    finding = probe_onnxruntime(Memory())
    assert finding == Missing("onnxruntime isn't installed", "pip install 'trtreg[onnxruntime]'")


def test_a_folder_left_behind_is_no_installation(installed: Path) -> None:
    (installed / "__init__.py").unlink()
    assert isinstance(probe_onnxruntime(Memory()), Missing)


def test_an_installation_that_cannot_be_imported_says_why_in_one_line(installed: Path) -> None:
    finding = probe_onnxruntime(Memory())
    assert isinstance(finding, Missing)
    assert finding.reason == "onnxruntime is installed, but can't be imported: libcudart.so.13: no such file"


def test_two_distributions_of_one_package_are_refused_by_name(installed: Path) -> None:
    for name in ("onnxruntime-1.32.0", "onnxruntime_gpu-1.32.0", "onnxruntime_extensions-0.14.0", "numpy-2.4.6"):
        (installed.parent / f"{name}.dist-info").mkdir()
    finding = probe_onnxruntime(Memory())
    assert isinstance(finding, Missing)
    assert finding.reason.startswith("onnxruntime and onnxruntime-gpu are installed together")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in finding.remedy


def test_what_is_missing_is_not_remembered(installed: Path) -> None:
    memory = Memory()
    probe_onnxruntime(memory)
    assert not memory.notes


def test_the_cpu_is_known_by_its_first_processor(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(AVX2)
    identity = cpu_identity(tmp_path / "cpuinfo")
    assert identity == {"machine": architecture(), "model name": "A CPU", "flags": "fpu avx2"}


def test_a_change_of_clock_is_no_other_cpu(tmp_path: Path) -> None:
    (tmp_path / "slow").write_text(AVX2)
    (tmp_path / "fast").write_text(AVX2.replace("2000.1", "3500.2"))
    assert cpu_identity(tmp_path / "slow") == cpu_identity(tmp_path / "fast")


def test_a_system_that_does_not_tell_its_cpu_has_its_architecture(tmp_path: Path) -> None:
    assert cpu_identity(tmp_path / "absent") == {"machine": architecture()}


def test_the_platform_is_system_and_machine() -> None:
    assert platform() == f"{sys.platform}-{os.uname().machine}"


# --- choosing ----------------------------------------------------------------------------------------------

GPU = Target(runtime="tensorrt", runtime_version="10.13", architecture="sm_89", platform="linux-x86_64")
CPU = Target(runtime="onnxruntime", runtime_version="1.32.0", architecture="x86_64", platform="linux-x86_64")


def machine(monkeypatch: pytest.MonkeyPatch, **findings: Available | Missing) -> None:
    monkeypatch.setattr(probing, "PROBES", tuple((n, lambda notes, f=f: f) for n, f in findings.items()))


def test_auto_takes_the_first_that_is_here_and_says_what_it_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, tensorrt=Missing("no GPU", "get one"), onnxruntime=Available(CPU))
    chosen = choose("auto", notes=Memory())
    assert (chosen.backend, chosen.target) == ("onnxruntime", CPU)
    assert chosen.why == "the best that is here; tensorrt: no GPU"


def test_auto_does_not_ask_for_what_it_no_longer_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(notes: Memory) -> Available:
        raise AssertionError

    monkeypatch.setattr(probing, "PROBES", (("tensorrt", lambda notes: Available(GPU)), ("onnxruntime", never)))
    assert choose("auto", notes=Memory()).backend == "tensorrt"


def test_a_backend_asked_for_by_name_is_taken_or_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, tensorrt=Missing("no GPU", "get one"), onnxruntime=Available(CPU))
    assert choose("onnxruntime", notes=Memory()).target == CPU
    with pytest.raises(UsageError, match="tensorrt can't be used here: no GPU") as refusal:
        choose("tensorrt", notes=Memory())
    assert refusal.value.hint == "get one"


def test_a_machine_without_any_backend_says_what_each_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, tensorrt=Missing("no GPU", "get one"), onnxruntime=Missing("not installed", "pip install"))
    with pytest.raises(UsageError, match="tensorrt: no GPU; onnxruntime: not installed") as refusal:
        choose("auto", notes=Memory())
    assert refusal.value.hint == "pip install"


def test_a_backend_that_does_not_exist_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'openvino'") as refusal:
        choose("openvino", notes=Memory())
    assert "auto" in refusal.value.hint
    assert "onnxruntime" in refusal.value.hint


def test_a_survey_has_an_answer_for_every_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    missing, here = Missing("no GPU", "get one"), Available(CPU)
    machine(monkeypatch, tensorrt=missing, onnxruntime=here)
    assert survey(Memory()) == (("tensorrt", missing), ("onnxruntime", here))
