"""Targets of TensorRT and TensorRT-RTX: from package metadata and NVML, without importing either."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtreg.core.architecture import architecture_of, parse_architecture
from trtreg.core.target import Target
from trtreg.probing.finding import Available, Finding, Missing
from trtreg.probing.machine import platform as this_platform
from trtreg.probing.nvml import Gpu, Gpus, choose_gpu, read_gpus

if TYPE_CHECKING:
    from trtreg.interfaces import Notes

TENSORRT = "tensorrt"
TENSORRT_RTX = "tensorrt-rtx"

_OLDEST = 75
"""Turing, the oldest architecture of the versions that we drive, times ten."""
_RTX_ARCHITECTURES = (75, 80, 86, 89, 120, 121)
_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""What NVIDIA's driver puts there, on Linux and on Windows' Linux. Without it NVML need not be imported."""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed runtime. `cuda` is the major version of CUDA in the package's name; empty where it has none."""

    name: str
    version: str
    cuda: str


def probe_here(runtime: str, notes: Notes, *, device: str = "", bound_to_device: bool = True) -> Finding:  # noqa: ARG001
    """This machine as a target of `runtime`, as `probe` finds it. Nothing is remembered: GPUs come and go."""
    packages = installed_packages(runtime)
    if packages and not any(path.exists() for path in _DRIVERS):
        return Missing("no NVIDIA driver is running here", "build for another machine's GPU with --target sm_89")
    return probe(
        runtime,
        packages=packages,
        nvml=_nvml() if packages else None,
        environment=os.environ,
        platform=this_platform(),
        device=device,
        bound_to_device=bound_to_device,
    )


def installed_packages(runtime: str) -> list[Package]:
    """The packages that provide `runtime`: one in a sound installation. Read off the names of the folders beside the
    module, since `importlib.metadata` takes longer to import than all the rest of a hit."""
    module = runtime.replace("-", "_")
    spec = PathFinder.find_spec(module)
    if spec is None or not spec.origin:
        return []
    named = re.compile(rf"{module}(?:_cu(\d+))?-(.+?)(?:\.post\d+)?\.dist-info")
    folders = sorted(Path(spec.origin).parents[1].glob(f"{module}*.dist-info"))
    found = [
        Package(f"{runtime}-cu{match[1]}" if match[1] else runtime, match[2], match[1] or "")
        for match in (named.fullmatch(folder.name) for folder in folders)
        if match
    ]
    # The package that only asks for the one with CUDA in its name says nothing of its own.
    return [package for package in found if package.cuda] or found


def probe(
    runtime: str,
    *,
    packages: list[Package],
    nvml: Any,
    environment: Mapping[str, str],
    platform: str,
    device: str = "",
    bound_to_device: bool = True,
) -> Available | Missing:
    """This machine as a target of `tensorrt` or `tensorrt-rtx`.

    `nvml` is the module `pynvml`, or None if it isn't installed. `bound_to_device` is False for recipes with a
    hardware compatibility level; TensorRT-RTX never binds its plans to a type of device.
    """
    package = _only(runtime, packages)
    if isinstance(package, Missing):
        return package
    if nvml is None:
        return Missing("no GPU can be found without nvidia-ml-py", "pip install nvidia-ml-py")
    gpus = read_gpus(nvml, environment)
    if isinstance(gpus, Missing):
        return gpus
    gpu = choose_gpu(gpus, device)
    if isinstance(gpu, Missing):
        return gpu
    obstacle = _obstacle(runtime, package, gpus, gpu)
    if obstacle is not None:
        return obstacle
    target = Target(
        runtime=runtime,
        runtime_version=package.version,
        architecture=architecture_of((gpu.capability,)),
        platform=platform,
        cuda=package.cuda,
        device=_device(gpu) if runtime == TENSORRT and bound_to_device else "",
    )
    return Available(target, _facts(package, gpus, gpu))


def cross_target(architecture: str, *, packages: list[Package], platform: str) -> Available | Missing:
    """The target of a TensorRT-RTX plan that is built here for other GPUs: `sm_89`, or `sm_86,sm_89`.

    Raises ValueError for what is no architecture.
    """
    capabilities = parse_architecture(architecture)
    package = _only(TENSORRT_RTX, packages)
    if isinstance(package, Missing):
        return package
    target = Target(
        runtime=TENSORRT_RTX,
        runtime_version=package.version,
        architecture=architecture_of(capabilities),
        platform=platform,
        cuda=package.cuda,
    )
    return Available(target, {"package": f"{package.name} {package.version}"})


def _only(runtime: str, packages: list[Package]) -> Package | Missing:
    if not packages:
        return Missing(f"{runtime} isn't installed", f"pip install {runtime}-cu12")
    if len(packages) > 1:
        names = ", ".join(f"{p.name} {p.version}" for p in packages)
        return Missing(f"{runtime} is installed twice: {names}", "uninstall the one that the driver doesn't suit")
    return packages[0]


def _obstacle(runtime: str, package: Package, gpus: Gpus, gpu: Gpu) -> Missing | None:
    needed = package.cuda
    if needed and int(gpus.cuda.partition(".")[0]) < int(needed):
        return Missing(
            f"{package.name} needs CUDA {needed}, but the driver {gpus.driver} serves up to CUDA {gpus.cuda}",
            f"update NVIDIA's driver, or install {runtime}-cu12",
        )
    known = _RTX_ARCHITECTURES if runtime == TENSORRT_RTX else None
    if (known and gpu.capability not in known) or gpu.capability < _OLDEST:
        listed = architecture_of(known) if known else f"sm_{_OLDEST} and later"
        return Missing(f"{runtime} doesn't run on {gpu.name} (sm_{gpu.capability})", f"it runs on {listed}")
    return None


def _device(gpu: Gpu) -> str:
    """The type of device. Two products of one name may differ in their number of multiprocessors."""
    if gpu.multiprocessors is None:
        return gpu.name
    return f"{gpu.name}, {gpu.multiprocessors} multiprocessors"


def _facts(package: Package, gpus: Gpus, gpu: Gpu) -> dict[str, str]:
    facts = {
        "package": f"{package.name} {package.version}",
        "gpu": str(gpu),
        "uuid": gpu.uuid,
        "driver": gpus.driver,
        "driver's CUDA": gpus.cuda,
    }
    others = [str(other) for other in gpus.visible if other != gpu]
    if others:
        facts["other GPUs"] = "; ".join(others)
    return facts


def _nvml() -> Any:
    try:
        return import_module("pynvml")
    except ImportError:
        return None
