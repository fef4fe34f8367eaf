"""Probing against recordings of NVML: of an H100, and of machines made up from its form."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from probing.recordings import A100_IN_TWO, H100, RTX_3060, RTX_4090, NoDriver, RecordedError, RecordedNvml
from trtreg.probing.finding import Available, Missing
from trtreg.probing.nvidia import Package, cross_target, installed_packages, probe
from trtreg.probing.nvml import Gpus, choose_gpu, read_gpus

TENSORRT_10 = [Package("tensorrt-cu12", "10.13.3.9", "12")]
RTX = [Package("tensorrt-rtx-cu12", "1.7.1.116", "12")]


def probed(runtime: str, nvml: Any, environment: Mapping[str, str] | None = None, **kwargs: Any) -> Available | Missing:
    return probed_each(runtime, nvml, environment, **kwargs)[0]


def probed_each(
    runtime: str, nvml: Any, environment: Mapping[str, str] | None = None, **kwargs: Any
) -> list[Available | Missing]:
    packages = kwargs.pop("packages", RTX if runtime == "tensorrt-rtx" else TENSORRT_10)
    return probe(
        runtime,
        packages=packages,
        gpus=lambda: read_gpus(nvml, environment or {}),
        platform="linux-x86_64",
        **kwargs,
    )


def names(nvml: RecordedNvml, **environment: str) -> list[str]:
    gpus = read_gpus(nvml, environment)
    assert isinstance(gpus, Gpus), gpus
    return [gpu.uuid[:5] for gpu in gpus.visible]


def test_a_tensorrt_target_names_the_type_of_device() -> None:
    found = probed("tensorrt", RecordedNvml(H100))
    assert isinstance(found, Available)
    target = found.target
    assert (target.runtime_version, target.architecture, target.cuda) == ("10.13.3.9", "sm_90", "12")
    assert target.device == "NVIDIA H100 80GB HBM3, 132 multiprocessors"
    assert found.facts["driver"] == "580.159.04"
    assert found.facts["driver's CUDA"] == "13.0"


def test_a_target_for_compatible_hardware_names_no_device() -> None:
    found = probed("tensorrt", RecordedNvml(H100), bound_to_device=False)
    assert isinstance(found, Available)
    assert found.target.device == ""


def test_the_target_of_an_rtx_gpu_is_that_of_a_plan_built_for_it_elsewhere() -> None:
    here = probed("tensorrt-rtx", RecordedNvml(RTX_4090))
    elsewhere = cross_target("sm_89", packages=RTX, platform="linux-x86_64")
    assert isinstance(here, Available)
    assert isinstance(elsewhere, Available)
    assert here.target == elsewhere.target


def test_a_cross_target_has_one_spelling() -> None:
    one = cross_target("sm_120,sm_86, sm_89,sm_86", packages=RTX, platform="linux-x86_64")
    assert isinstance(one, Available)
    assert one.target.architecture == "sm_86,sm_89,sm_120"
    with pytest.raises(ValueError, match="no GPU architecture"):
        cross_target("ada", packages=RTX, platform="linux-x86_64")


def test_tensorrt_rtx_is_missing_on_a_gpu_that_it_doesn_t_support() -> None:
    found = probed("tensorrt-rtx", RecordedNvml(H100))
    assert isinstance(found, Missing)
    assert "sm_90" in found.reason
    assert "sm_120" in found.remedy


@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
def test_volta_is_too_old(runtime: str) -> None:
    found = probed(runtime, RecordedNvml({**H100, "name": "Tesla V100", "capability": (7, 0)}))
    assert isinstance(found, Missing)
    assert "sm_70" in found.reason


def test_a_driver_too_old_for_the_package_s_cuda_is_named() -> None:
    cu13 = [Package("tensorrt-cu13", "10.13.3.9", "13")]
    found = probed("tensorrt", RecordedNvml(H100, cuda=12080, driver="570.10"), packages=cu13)
    assert found == Missing(
        "tensorrt-cu13 needs CUDA 13, but the driver 570.10 serves up to CUDA 12.8",
        "update NVIDIA's driver, or install tensorrt-cu12",
    )


def test_two_packages_of_one_runtime_are_a_fault() -> None:
    both = [*TENSORRT_10, Package("tensorrt-cu13", "11.4.0.106", "13")]
    found = probed("tensorrt", RecordedNvml(H100), packages=both)
    assert isinstance(found, Missing)
    assert "tensorrt-cu12 10.13.3.9, tensorrt-cu13 11.4.0.106" in found.reason


def test_what_isn_t_there_is_said_with_a_remedy() -> None:
    for found in (
        probed("tensorrt", RecordedNvml(H100), packages=[]),
        probed("tensorrt", NoDriver()),
        probed("tensorrt", RecordedNvml()),
    ):
        assert isinstance(found, Missing)
        assert found.reason
        assert found.remedy


def test_nvml_is_shut_down_also_after_a_failure() -> None:
    class Failing(RecordedNvml):
        def _mig_mode(self, gpu: dict[str, Any]) -> list[int]:
            raise RecordedError(15)

    nvml = Failing(H100)
    assert isinstance(read_gpus(nvml, {}), Missing)
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        ("", []),
        ("-1", []),
        ("0", ["GPU-4"]),
        ("1,0", ["GPU-1", "GPU-4"]),
        ("0,9,1", ["GPU-4"]),
        ("0,0", ["GPU-4"]),
        ("GPU-1111", ["GPU-1"]),
        ("GPU-", []),
        ("GPU-22,0", ["GPU-2", "GPU-4"]),
        ("nonsense", []),
        ("\u0661", []),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(wanted: str, seen: list[str]) -> None:
    nvml = RecordedNvml(H100, RTX_4090, RTX_3060)
    assert names(nvml, CUDA_VISIBLE_DEVICES=wanted, CUDA_DEVICE_ORDER="PCI_BUS_ID") == seen


def test_an_index_among_different_gpus_means_nothing_until_the_order_is_fixed() -> None:
    nvml = RecordedNvml(H100, RTX_4090)
    found = read_gpus(nvml, {"CUDA_VISIBLE_DEVICES": "1"})
    assert isinstance(found, Missing)
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in found.remedy
    assert names(nvml, CUDA_VISIBLE_DEVICES="GPU-1111") == ["GPU-1"]
    twins = RecordedNvml(RTX_4090, {**RTX_4090, "uuid": "GPU-5"})
    assert names(twins, CUDA_VISIBLE_DEVICES="1") == ["GPU-5"]


def test_each_gpu_of_a_machine_is_a_target_of_its_own() -> None:
    machine = RecordedNvml(H100, RTX_4090, RTX_3060)
    first, second, third = probed_each("tensorrt-rtx", machine)
    assert isinstance(first, Missing)
    assert isinstance(second, Available)
    assert isinstance(third, Available)
    assert (second.target.architecture, third.target.architecture) == ("sm_89", "sm_86")
    assert second.gpu is not None
    assert second.gpu.uuid == RTX_4090["uuid"]
    assert len(probed_each("tensorrt", machine, device="1")) == 1


def test_a_divided_gpu_is_seen_as_its_instances() -> None:
    nvml = RecordedNvml(A100_IN_TWO)
    gpus = read_gpus(nvml, {})
    assert isinstance(gpus, Gpus)
    assert [(g.name.split()[-1], g.multiprocessors, g.capability) for g in gpus.visible] == [
        ("3g.20gb", 42, 80),
        ("1g.5gb", 14, 80),
    ]
    assert names(nvml, CUDA_VISIBLE_DEVICES="0") == ["MIG-a"]
    assert names(nvml, CUDA_VISIBLE_DEVICES="MIG-bbbb") == ["MIG-b"]


def test_a_mig_instance_is_a_type_of_device_of_its_own() -> None:
    whole = probed("tensorrt", RecordedNvml({k: v for k, v in A100_IN_TWO.items() if k != "instances"}))
    slice_ = probed("tensorrt", RecordedNvml(A100_IN_TWO))
    assert isinstance(whole, Available)
    assert isinstance(slice_, Available)
    assert slice_.target.device == "NVIDIA A100-SXM4-40GB MIG 3g.20gb, 42 multiprocessors"
    assert whole.target.device != slice_.target.device


@pytest.mark.parametrize(("device", "uuid"), [("", "GPU-4"), ("0", "GPU-4"), ("1", "GPU-1"), ("GPU-2222", "GPU-2")])
def test_the_device_is_chosen_by_index_or_uuid(device: str, uuid: str) -> None:
    nvml = RecordedNvml(H100, RTX_4090, RTX_3060)
    found = probed("tensorrt", nvml, device=device)
    assert isinstance(found, Available)
    assert found.facts["uuid"].startswith(uuid)
    assert found.facts["other GPUs"].count("GPU-") == 2


@pytest.mark.parametrize("device", ["3", "GPU-", "GPU-9", "nonsense"])
def test_a_device_that_names_none_or_several_is_refused_with_those_there_are(device: str) -> None:
    gpus = read_gpus(RecordedNvml(H100, RTX_4090), {})
    assert isinstance(gpus, Gpus)
    found = choose_gpu(gpus, device)
    assert isinstance(found, Missing)
    assert "0: NVIDIA H100" in found.remedy
    assert "1: NVIDIA GeForce RTX 4090" in found.remedy


def test_the_real_nvml_has_every_name_that_probing_uses() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py isn't installed")
    nvml = RecordedNvml(A100_IN_TWO)
    nvml.open = 1
    for name in ("nvmlInit", "nvmlShutdown", "NVMLError", "NVML_DEVICE_MIG_ENABLE", "nvmlDeviceGetMigMode"):
        assert hasattr(pynvml, name)
    for name in ("INVALID_ARGUMENT", "NOT_SUPPORTED", "NOT_FOUND", "FUNCTION_NOT_FOUND"):
        assert getattr(pynvml, f"NVML_ERROR_{name}") == getattr(nvml, f"NVML_ERROR_{name}")


def test_a_machine_without_nvidia_s_driver_says_so() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py isn't installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert isinstance(read_gpus(pynvml, {}), Missing)
    else:
        assert isinstance(read_gpus(pynvml, {}), Gpus)


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        (["tensorrt_cu12-10.13.3.9", "tensorrt_cu12_libs-10.13.3.9"], [("tensorrt-cu12", "10.13.3.9", "12")]),
        (["tensorrt-10.13.3.9", "tensorrt_cu13-10.13.3.9.post1"], [("tensorrt-cu13", "10.13.3.9", "13")]),
        (["tensorrt-10.3.0"], [("tensorrt", "10.3.0", "")]),
        (
            ["tensorrt_cu12-10.13.3.9", "tensorrt_cu13-11.4.0.106", "tensorrt_rtx_cu12-1.7.1.116"],
            [("tensorrt-cu12", "10.13.3.9", "12"), ("tensorrt-cu13", "11.4.0.106", "13")],
        ),
    ],
)
def test_packages_are_found_by_the_folders_beside_the_module(
    folders: list[str], found: list[tuple[str, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.py").touch()
    for folder in folders:
        (tmp_path / f"{folder}.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert installed_packages("tensorrt") == [Package(*package) for package in found]
    assert installed_packages("no-such-runtime") == []


def test_the_installed_tensorrt_rtx_is_found_as_its_metadata_has_it() -> None:
    try:
        version = metadata.version("tensorrt-rtx-cu12")
    except metadata.PackageNotFoundError:
        pytest.skip("tensorrt-rtx-cu12 isn't installed")
    assert Package("tensorrt-rtx-cu12", version, "12") in installed_packages("tensorrt-rtx")
