"""This machine as a target: asked once, remembered, and asked again when the answer may be another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from probing.recordings import A100_IN_TWO, H100, RTX_3060, RTX_4090, RecordedNvml
from trtreg import probing
from trtreg.core.target import Target
from trtreg.errors import UsageError
from trtreg.probing import Available, Inquiry, Missing, choose, inquiry, nvidia, probe_onnxruntime, survey
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


def asked(memory: Memory) -> Available | Missing:
    return probe_onnxruntime(Inquiry(memory))


@pytest.fixture(autouse=True)
def _a_machine_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "has_nvidia_driver", lambda: False)


@pytest.fixture
def gpu_machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this machine one with these GPUs, as NVML would tell of them."""

    def equip(*gpus: dict[str, Any], cuda: int = 13000) -> None:
        monkeypatch.setattr(inquiry, "has_nvidia_driver", lambda: True)
        monkeypatch.setitem(sys.modules, "pynvml", RecordedNvml(*gpus, cuda=cuda))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return equip


def remembering(version: str = "1.0", layout: str = "abc", cuda: str = "") -> Memory:
    """Notes that know the answer for the installation on the import path and this CPU."""
    memory = Memory()
    package = probe_module._package()
    assert package is not None
    subject = probe_module._subject(package, cpu_identity())
    memory.remember("onnxruntime-probe", subject, {"version": version, "layout": layout, "cuda": cuda})
    return memory


def test_the_target_names_version_cpu_and_layout() -> None:
    finding = asked(Memory())
    assert isinstance(finding, Available)
    target = finding.target
    assert (target.runtime, target.runtime_version) == ("onnxruntime", onnxruntime.__version__)
    assert target.platform == f"linux-{target.architecture}"
    assert re.fullmatch(r"[0-9a-f]{12}", target.layout)
    assert target.device == target.cuda == ""


def test_a_remembered_answer_is_the_answer() -> None:
    memory = Memory()
    assert asked(memory) == asked(memory)
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
    finding = asked(remembering(version="9.9", layout="remembered"))
    assert isinstance(finding, Available)
    assert (finding.target.runtime_version, finding.target.layout) == ("9.9", "remembered")


def test_an_upgrade_is_noticed(installed: Path) -> None:
    memory = remembering()
    (installed / "__init__.py").rename(installed / "old")
    (installed / "__init__.py").write_text((installed / "old").read_text())
    assert isinstance(asked(memory), Missing)


def test_another_library_in_the_same_package_is_noticed(installed: Path) -> None:
    memory = remembering()
    (installed / "capi" / "libonnxruntime.so.2").touch()
    os.utime(installed / "capi", (1, 1))
    assert isinstance(asked(memory), Missing)


def test_another_cpu_is_noticed(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = remembering()
    monkeypatch.setattr(probe_module, "cpu_identity", lambda: {"flags": "avx2 avx512f"})
    assert isinstance(asked(memory), Missing)


@pytest.mark.parametrize(
    "note",
    [
        {},
        {"version": "1"},
        {"layout": "abc"},
        {"version": "1", "layout": "abc"},
        {"version": "", "layout": None, "cuda": ""},
    ],
)
def test_a_note_that_lacks_something_is_asked_again(note: dict[str, object]) -> None:
    memory = remembering()
    [(kind, subject)] = memory.notes
    memory.remember(kind, subject, note)
    finding = asked(memory)
    assert isinstance(finding, Available)
    assert finding.target.runtime_version == onnxruntime.__version__


def test_no_installation_is_missing_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    finding = asked(Memory())
    assert finding == Missing("onnxruntime isn't installed", "pip install 'trtreg[onnxruntime]'")


def test_a_folder_left_behind_is_no_installation(installed: Path) -> None:
    (installed / "__init__.py").unlink()
    assert isinstance(asked(Memory()), Missing)


def test_an_installation_that_cannot_be_imported_says_why_in_one_line(installed: Path) -> None:
    finding = asked(Memory())
    assert isinstance(finding, Missing)
    assert finding.reason == "onnxruntime is installed, but can't be imported: libcudart.so.13: no such file"


def test_two_distributions_of_one_package_are_refused_by_name(installed: Path) -> None:
    for name in ("onnxruntime-1.32.0", "onnxruntime_gpu-1.32.0", "onnxruntime_extensions-0.14.0", "numpy-2.4.6"):
        (installed.parent / f"{name}.dist-info").mkdir()
    finding = asked(Memory())
    assert isinstance(finding, Missing)
    assert finding.reason.startswith("onnxruntime and onnxruntime-gpu are installed together")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in finding.remedy


def test_what_is_missing_is_not_remembered(installed: Path) -> None:
    memory = Memory()
    asked(memory)
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


# --- ONNX Runtime on a GPU --------------------------------------------------------------------------------


@pytest.fixture
def with_cuda(installed: Path) -> Path:
    """An ONNX Runtime that has the CUDA provider."""
    (installed / "capi" / "libonnxruntime_providers_cuda.so").touch()
    return installed


def test_with_the_cuda_provider_and_a_gpu_the_target_is_the_gpu(
    with_cuda: Path, gpu_machine: Callable[..., None]
) -> None:
    gpu_machine(H100)
    finding = asked(remembering(cuda="12"))
    assert isinstance(finding, Available)
    assert (finding.target.architecture, finding.target.cuda, finding.target.layout) == ("sm_90", "12", "abc")
    assert finding.target.device == ""
    assert finding.gpu is not None
    assert finding.gpu.uuid == H100["uuid"]
    assert finding.shortfall == ""


def test_without_the_cuda_provider_it_runs_on_the_cpu_and_says_why(
    installed: Path, gpu_machine: Callable[..., None]
) -> None:
    gpu_machine(H100)
    finding = asked(remembering())
    assert isinstance(finding, Available)
    assert finding.target.architecture == architecture()
    assert finding.shortfall == "onnxruntime-gpu isn't installed"


def test_without_a_driver_the_cuda_provider_is_no_matter(with_cuda: Path) -> None:
    finding = asked(remembering(cuda="12"))
    assert isinstance(finding, Available)
    assert (finding.target.architecture, finding.target.cuda, finding.shortfall) == (architecture(), "", "")


@pytest.mark.parametrize(("gpus", "cuda", "reason"), [([], 13000, "no NVIDIA GPU"), ([H100], 12080, "serves up to")])
def test_a_gpu_that_cannot_be_used_leaves_the_cpu_and_the_reason(
    gpus: list[dict[str, Any]], cuda: int, reason: str, with_cuda: Path, gpu_machine: Callable[..., None]
) -> None:
    gpu_machine(*gpus, cuda=cuda)
    finding = asked(remembering(cuda="13"))
    assert isinstance(finding, Available)
    assert finding.target.architecture == architecture()
    assert reason in finding.shortfall


# --- choosing ----------------------------------------------------------------------------------------------

GPU = Target(runtime="tensorrt", runtime_version="10.13", architecture="sm_89", platform="linux-x86_64")
CPU = Target(runtime="onnxruntime", runtime_version="1.32.0", architecture="x86_64", platform="linux-x86_64")
TENSORRT = nvidia.Package("tensorrt-cu12", "10.13.3.9", "12")
RTX = nvidia.Package("tensorrt-rtx-cu12", "1.7.1.116", "12")


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this machine one that has these of NVIDIA's packages."""

    def install(*installed: nvidia.Package) -> None:
        monkeypatch.setattr(
            nvidia,
            "installed_packages",
            lambda runtime: [p for p in installed if p.name.rpartition("-cu")[0] == runtime],
        )

    return install


def machine(monkeypatch: pytest.MonkeyPatch, **findings: Available | Missing) -> None:
    monkeypatch.setattr(inquiry, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(probing, "PROBES", tuple((n, lambda asked, f=f: f) for n, f in findings.items()))


def test_auto_takes_the_first_that_is_here_and_says_what_it_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    better = Missing("tensorrt isn't installed", "get one")
    machine(monkeypatch, tensorrt=better, onnxruntime=Available(CPU, shortfall="onnxruntime-gpu isn't installed"))
    chosen = choose("auto", notes=Memory())
    assert (chosen.backend, chosen.target, chosen.gpu, chosen.provable) == ("onnxruntime", CPU, "", True)
    assert chosen.why == "on the CPU; tensorrt isn't installed; onnxruntime-gpu isn't installed"


def test_without_a_driver_auto_looks_for_nothing_of_nvidia_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(runtime: str) -> list[nvidia.Package]:
        raise AssertionError

    monkeypatch.setattr(nvidia, "installed_packages", never)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    chosen = choose("auto", notes=remembering())
    assert (chosen.backend, chosen.why) == ("onnxruntime", "no NVIDIA driver here")


@pytest.mark.parametrize(
    ("gpu", "installed", "backend"),
    [
        (H100, [TENSORRT, RTX], "tensorrt"),
        (RTX_4090, [TENSORRT, RTX], "tensorrt"),
        (RTX_4090, [RTX], "tensorrt-rtx"),
        (H100, [RTX], "onnxruntime"),
        (RTX_4090, [], "onnxruntime"),
    ],
)
def test_auto_prefers_tensorrt_then_tensorrt_rtx_where_they_run(
    gpu: dict[str, Any],
    installed: list[nvidia.Package],
    backend: str,
    gpu_machine: Callable[..., None],
    packages: Callable[..., None],
) -> None:
    gpu_machine(gpu)
    packages(*installed)
    chosen = choose("auto", notes=remembering())
    assert chosen.backend == backend
    assert (chosen.gpu == gpu["uuid"]) is (backend != "onnxruntime")
    assert chosen.provable
    assert "\n" not in chosen.why


def test_nvml_is_asked_once_for_all_probes(gpu_machine: Callable[..., None], packages: Callable[..., None]) -> None:
    gpu_machine(H100)
    packages(RTX, TENSORRT)
    machine = Inquiry(Memory())
    assert machine.gpus is machine.gpus
    assert isinstance(nvidia.probe_here("tensorrt", machine), Available)


def test_of_several_gpus_the_first_that_suits_is_taken_or_the_one_named(
    gpu_machine: Callable[..., None], packages: Callable[..., None]
) -> None:
    gpu_machine(H100, RTX_3060, RTX_4090)
    packages(RTX)
    assert choose("auto", notes=Memory()).gpu == RTX_3060["uuid"]
    assert choose("tensorrt-rtx", notes=Memory(), device="2").target.architecture == "sm_89"
    with pytest.raises(UsageError, match="sm_90"):
        choose("tensorrt-rtx", notes=Memory(), device="0")


def test_a_mig_instance_is_named_by_its_uuid(gpu_machine: Callable[..., None], packages: Callable[..., None]) -> None:
    gpu_machine(A100_IN_TWO)
    packages(TENSORRT)
    assert choose("auto", notes=Memory(), device="1").gpu == A100_IN_TWO["instances"][2]["uuid"]


@pytest.mark.parametrize("backend", ["auto", "onnxruntime", "tensorrt-rtx"])
def test_a_device_that_is_not_there_is_refused_for_every_backend(
    backend: str, gpu_machine: Callable[..., None], packages: Callable[..., None]
) -> None:
    packages(RTX)
    with pytest.raises(UsageError, match="no NVIDIA driver here"):
        choose(backend, notes=remembering(), device="0")
    gpu_machine(H100)
    with pytest.raises(UsageError, match="--device 7") as refusal:
        choose(backend, notes=remembering(), device="7")
    assert "NVIDIA H100" in refusal.value.hint


def test_a_device_means_nothing_to_what_runs_on_the_cpu(gpu_machine: Callable[..., None], installed: Path) -> None:
    gpu_machine(H100)
    with pytest.raises(UsageError, match=r"onnxruntime can't use --device 0: .*onnxruntime-gpu isn't installed"):
        choose("onnxruntime", notes=remembering(), device="0")


def test_a_plan_without_device_binding_has_a_target_without_a_device(
    gpu_machine: Callable[..., None], packages: Callable[..., None]
) -> None:
    gpu_machine(H100)
    packages(TENSORRT)
    assert choose("tensorrt", notes=Memory()).target.device.startswith("NVIDIA H100")
    assert choose("tensorrt", notes=Memory(), bound_to_device=False).target.device == ""


# --- for other machines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["auto", "tensorrt-rtx"])
def test_a_plan_for_a_gpu_that_is_not_here_cannot_be_proven_here(backend: str, packages: Callable[..., None]) -> None:
    packages(RTX)
    chosen = choose(backend, notes=Memory(), architecture="sm_89,sm_86")
    assert (chosen.backend, chosen.target.architecture) == ("tensorrt-rtx", "sm_86,sm_89")
    assert (chosen.provable, chosen.gpu) == (False, "")
    assert chosen.why == "--target; no sm_86,sm_89 here to run it"


def test_a_plan_for_a_gpu_that_is_here_is_proven_on_it(
    gpu_machine: Callable[..., None], packages: Callable[..., None]
) -> None:
    gpu_machine(H100, RTX_3060, RTX_4090)
    packages(RTX)
    chosen = choose("auto", notes=Memory(), architecture="sm_89,sm_120")
    assert chosen.target.architecture == "sm_89,sm_120"
    assert (chosen.provable, chosen.gpu) == (True, RTX_4090["uuid"])


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime"])
def test_what_builds_for_its_own_machine_alone_refuses_another_target(backend: str) -> None:
    with pytest.raises(UsageError, match=f"{backend} builds for this machine alone") as refusal:
        choose(backend, notes=Memory(), architecture="sm_89")
    assert "tensorrt-rtx" in refusal.value.hint


def test_an_architecture_that_is_none_is_refused_with_the_form(packages: Callable[..., None]) -> None:
    packages(RTX)
    with pytest.raises(UsageError, match="'ada'") as refusal:
        choose("auto", notes=Memory(), architecture="ada")
    assert "sm_86,sm_89" in refusal.value.hint


def test_without_tensorrt_rtx_another_target_is_refused_with_what_to_install(packages: Callable[..., None]) -> None:
    packages()
    with pytest.raises(UsageError, match="tensorrt-rtx isn't installed") as refusal:
        choose("auto", notes=Memory(), architecture="sm_89")
    assert refusal.value.hint == "pip install tensorrt-rtx-cu12"


# --- names and failures -------------------------------------------------------------------------------------


def test_auto_does_not_ask_for_what_it_no_longer_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(asked: Inquiry) -> Available:
        raise AssertionError

    machine(monkeypatch)
    monkeypatch.setattr(probing, "PROBES", (("tensorrt", lambda asked: Available(GPU)), ("onnxruntime", never)))
    assert choose("auto", notes=Memory()).backend == "tensorrt"


def test_a_backend_asked_for_by_name_is_taken_or_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, tensorrt=Missing("no GPU", "get one"), onnxruntime=Available(CPU))
    assert choose("onnxruntime", notes=Memory()).target == CPU
    with pytest.raises(UsageError, match="tensorrt can't be used here: no GPU") as refusal:
        choose("tensorrt", notes=Memory())
    assert refusal.value.hint == "get one"


def test_a_machine_without_any_backend_says_what_each_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, tensorrt=Missing("no GPU", "get one"), onnxruntime=Missing("not installed", "pip install"))
    with pytest.raises(UsageError, match="here: no GPU; not installed") as refusal:
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
