"""Targets of TensorRT and TensorRT-RTX: from package metadata and NVML, without importing either."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.architecture import architecture_of, parse_architecture
from trtreg.core.target import Target
from trtreg.probing.finding import Available, Finding, Missing
from trtreg.probing.machine import platform as this_platform
from trtreg.probing.nvml import Gpu, Gpus, choose_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from trtreg.probing.inquiry import Inquiry

TENSORRT = "tensorrt"
TENSORRT_RTX = "tensorrt-rtx"

_OLDEST = 75
"""Turing, the oldest architecture of the versions that we drive, times ten."""
_RTX_ARCHITECTURES = (75, 80, 86, 89, 120, 121)


@dataclass(frozen=True, slots=True)
class Package:
    """An installed runtime. `cuda` is the major version of CUDA in the package's name; empty where it has none."""

    name: str
    version: str
    cuda: str


def probe_here(runtime: str, machine: Inquiry) -> Finding:
    """This machine as a target of `runtime`: with the GPU that was asked for, or with the first that suits it."""
    findings = probe_each(runtime, machine)
    return next((finding for finding in findings if isinstance(finding, Available)), findings[0])


def probe_each(runtime: str, machine: Inquiry) -> list[Finding]:
    """The same with each GPU that may be used; one finding if there is none."""
    return probe(
        runtime,
        packages=installed_packages(runtime),
        gpus=lambda: machine.gpus,
        platform=this_platform(),
        device=machine.device,
        bound_to_device=machine.bound_to_device,
    )


def cross_target_here(architecture: str) -> Available | Missing:
    """The target of a plan that this machine's TensorRT-RTX builds for other GPUs. Raises ValueError."""
    return cross_target(architecture, packages=installed_packages(TENSORRT_RTX), platform=this_platform())


def installed_packages(runtime: str) -> list[Package]:
    """The packages that provide `runtime`: one in a sound installation."""
    module = runtime.replace("-", "_")
    named = re.compile(rf"{module}(?:_cu(\d+))?")
    found = [
        Package(f"{runtime}-cu{match[1]}" if match[1] else runtime, version, match[1] or "")
        for match, version in ((named.fullmatch(name), version) for name, version in _distributions(module))
        if match
    ]
    # The package that only asks for the one with CUDA in its name says nothing of its own.
    return [package for package in found if package.cuda] or found


def differing_parts(runtime: str) -> str:
    """The packages that a runtime consists of, with their versions, if they aren't all of one version."""
    module = runtime.replace("-", "_")
    named = re.compile(rf"{module}(_cu\d+)?(_libs|_bindings)?")
    parts = [(name, version) for name, version in _distributions(module) if named.fullmatch(name)]
    if len({version for _, version in parts}) < 2:
        return ""
    return ", ".join(f"{name.replace('_', '-')} {version}" for name, version in parts)


def _distributions(module: str) -> list[tuple[str, str]]:
    """Name and version of the distributions beside `module` whose names begin with its own. Read off the names of
    their folders, since `importlib.metadata` takes longer to import than all the rest of a hit."""
    spec = PathFinder.find_spec(module)
    if spec is None or not spec.origin:
        return []
    folders = sorted(Path(spec.origin).parents[1].glob(f"{module}*.dist-info"))
    matches = [re.fullmatch(r"(\w+)-(.+?)(?:\.post\d+)?\.dist-info", folder.name) for folder in folders]
    return [(match[1], match[2]) for match in matches if match]


def probe(
    runtime: str,
    *,
    packages: list[Package],
    gpus: Callable[[], Gpus | Missing],
    platform: str,
    device: str = "",
    bound_to_device: bool = True,
) -> list[Finding]:
    """This machine as a target of `tensorrt` or `tensorrt-rtx`, with each GPU that `device` leaves; at least one
    finding.

    `bound_to_device` is False for recipes with a hardware compatibility level; TensorRT-RTX never binds its plans to
    a type of device.
    """
    package = _only(runtime, packages)
    if isinstance(package, Missing):
        return [package]
    seen = gpus()
    if isinstance(seen, Missing):
        return [seen]
    first = choose_gpu(seen, device)
    if isinstance(first, Missing):
        return [first]
    usable = (first,) if device else seen.visible
    return [_with_gpu(runtime, package, seen, gpu, platform, bound_to_device) for gpu in usable]


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


def _with_gpu(runtime: str, package: Package, gpus: Gpus, gpu: Gpu, platform: str, bound_to_device: bool) -> Finding:
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
    return Available(target, _facts(package, gpus, gpu), gpu)


def _only(runtime: str, packages: list[Package]) -> Package | Missing:
    if not packages:
        return Missing(f"{runtime} isn't installed", f"pip install {runtime}-cu12")
    if len(packages) > 1:
        names = ", ".join(f"{p.name} {p.version}" for p in packages)
        return Missing(f"{runtime} is installed twice: {names}", "uninstall the one that the driver doesn't suit")
    return packages[0]


def _obstacle(runtime: str, package: Package, gpus: Gpus, gpu: Gpu) -> Missing | None:
    if not gpus.serve(package.cuda):
        return Missing(
            f"{package.name} needs CUDA {package.cuda}, but the driver {gpus.driver} serves up to CUDA {gpus.cuda}",
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
