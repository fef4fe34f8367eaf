"""ONNX Runtime as a target: on an NVIDIA GPU if it can, else on the CPU.

What ONNX Runtime says of itself is remembered, so that it isn't imported again; which GPUs there are is not.
"""

from __future__ import annotations

from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.architecture import architecture_of
from trtreg.core.digest import digest_of
from trtreg.core.target import Target
from trtreg.probing.finding import Available, Finding, Missing
from trtreg.probing.machine import architecture, cpu_identity, platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trtreg.probing.inquiry import Inquiry
    from trtreg.probing.nvml import Gpu

_KIND = "onnxruntime-probe"
_INSTALL = "pip install 'trtreg[onnxruntime]'"
_INSTALL_GPU = "pip uninstall onnxruntime, then pip install 'trtreg[gpu]'"
_CUDA_PROVIDER = "libonnxruntime_providers_cuda.so"
_VARIANTS = ("", "-gpu", "-openvino", "-qnn", "-cann", "-rocm", "-migraphx", "-training", "-directml")
"""Distributions that all bring a package called onnxruntime, and overwrite one another's files."""


def probe_onnxruntime(machine: Inquiry) -> Finding:
    """What ONNX Runtime is here. The answer is remembered until the installation or the CPU is another one."""
    package = _package()
    if package is None:
        return Missing("onnxruntime isn't installed", _INSTALL)
    cpu = cpu_identity()
    subject = _subject(package, cpu)
    own = _remembered(machine.notes.recall(_KIND, subject))
    if own is None:
        asked = _ask(package)
        if isinstance(asked, Missing):
            return asked
        machine.notes.remember(_KIND, subject, asked)
        own = asked
    gpu = _gpu(package, own["cuda"], machine)
    facts = {"cpu": cpu.get("model name", architecture()), "package": str(package)}
    if isinstance(gpu, Missing):
        return Available(_target(own), facts, shortfall=gpu.reason if machine.has_driver else "")
    return Available(_target(own, gpu), {**facts, "gpu": str(gpu)}, gpu)


def _target(own: Mapping[str, str], gpu: Gpu | None = None) -> Target:
    """On a GPU, too, the layout counts: what the CUDA provider lacks runs on the CPU, weights in its blocks."""
    return Target(
        runtime="onnxruntime",
        runtime_version=own["version"],
        architecture=architecture_of((gpu.capability,)) if gpu else architecture(),
        platform=platform(),
        cuda=own["cuda"] if gpu else "",
        layout=own["layout"],
    )


def _gpu(package: Path, cuda: str, machine: Inquiry) -> Gpu | Missing:
    """The GPU that the CUDA provider would use."""
    if not (package / "capi" / _CUDA_PROVIDER).exists():
        return Missing("onnxruntime-gpu isn't installed", _INSTALL_GPU)
    gpus = machine.gpus
    if isinstance(gpus, Missing):
        return gpus
    if not gpus.serve(cuda):
        return Missing(
            f"onnxruntime-gpu needs CUDA {cuda}, but the driver {gpus.driver} serves up to CUDA {gpus.cuda}",
            "update NVIDIA's driver, or install an older onnxruntime-gpu",
        )
    from trtreg.probing.nvml import choose_gpu

    return choose_gpu(gpus, machine.device)


def _package() -> Path | None:
    """The folder that `import onnxruntime` would take, found without importing it."""
    spec = PathFinder.find_spec("onnxruntime")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _subject(package: Path, cpu: Mapping[str, str]) -> str:
    """Another string whenever the answer may be another: after an upgrade, and on another kind of CPU, for the
    notes may lie on a disk that many machines share."""
    stamps = [_stamp(package / part) for part in ("__init__.py", "capi")]
    return digest_of(_KIND, {"package": str(package), "stamps": tuple(stamps), "cpu": cpu, "platform": platform()})


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "absent"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _remembered(note: Mapping[str, object] | None) -> dict[str, str] | None:
    """The note, if it holds what this trtreg writes."""
    match note:
        case {"version": str(version), "layout": str(layout), "cuda": str(cuda)} if version and layout:
            return {"version": version, "layout": layout, "cuda": cuda}
    return None


def _ask(package: Path) -> dict[str, str] | Missing:
    installed = _distributions(package.parent)
    if len(installed) > 1:
        together = " and ".join(installed)
        return Missing(
            f"{together} are installed together and overwrite each other's files",
            f"pip uninstall -y {' '.join(installed)}, then {_INSTALL}",
        )
    try:
        runtime = import_module("onnxruntime")
    except (ImportError, OSError) as broken:
        words = " ".join(str(broken).split())
        return Missing(f"onnxruntime is installed, but can't be imported: {words}", f"{_INSTALL} --force-reinstall")
    from trtreg.probing.onnxruntime_layout import layout_fingerprint

    # Only builds with CUDA name the version of it, and not all of them do.
    cuda = str(getattr(runtime, "cuda_version", "") or "").partition(".")[0]
    return {"version": runtime.__version__, "layout": layout_fingerprint(), "cuda": cuda}


def _distributions(folder: Path) -> list[str]:
    """The distributions beside the package that claim it."""
    variants = {f"onnxruntime{v.replace('-', '_')}": f"onnxruntime{v}" for v in _VARIANTS}
    stems = {entry.name.partition("-")[0].lower() for entry in folder.glob("*.dist-info")}
    return [name for stem, name in sorted(variants.items()) if stem in stems]
