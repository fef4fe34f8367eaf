"""This machine as a target, asked without importing the runtimes wherever the answer is remembered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from trtreg.core.target import runs_on
from trtreg.errors import UsageError
from trtreg.probing.finding import Available, Finding, Missing
from trtreg.probing.inquiry import Inquiry, Probe
from trtreg.probing.onnxruntime import probe_onnxruntime

if TYPE_CHECKING:
    from trtreg.core.target import Target
    from trtreg.interfaces import Notes

__all__ = ["Available", "Chosen", "Finding", "Inquiry", "Missing", "Probe", "choose", "probe_onnxruntime", "survey"]

AUTO = "auto"
TENSORRT_RTX = "tensorrt-rtx"
_NO_DRIVER = "no NVIDIA driver here"


def _probe_nvidia(runtime: str, machine: Inquiry) -> Finding:
    from trtreg.probing.nvidia import probe_here

    return probe_here(runtime, machine)


PROBES: tuple[tuple[str, Probe], ...] = (
    ("tensorrt", partial(_probe_nvidia, "tensorrt")),
    (TENSORRT_RTX, partial(_probe_nvidia, TENSORRT_RTX)),
    ("onnxruntime", probe_onnxruntime),
)
"""Each backend's probe, in the order in which `auto` prefers them. The last works without a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The backend that this machine takes.

    why       in one line, for people
    provable  whether this machine can run plans of that target
    gpu       UUID of the GPU to use, as CUDA_VISIBLE_DEVICES takes it; empty for none
    gpu_name  what that GPU calls itself
    """

    backend: str
    target: Target
    why: str
    provable: bool = True
    gpu: str = ""
    gpu_name: str = ""


def choose(
    backend: str, *, notes: Notes, architecture: str = "", device: str = "", bound_to_device: bool = True
) -> Chosen:
    """The backend of that name, or, for `auto`, the best that is here.

    architecture     GPUs to build for, whether they are here or not: `sm_89`, or `sm_86,sm_89`
    device           which of this machine's GPUs, by index or UUID
    bound_to_device  whether TensorRT may bind its plans to the type of device

    Raises UsageError for what isn't there, or can't be had together.
    """
    if backend not in (AUTO, *dict(PROBES)):
        raise UsageError(f"there is no backend {backend!r}", hint=f"there are {', '.join([AUTO, *dict(PROBES)])}")
    machine = Inquiry(notes, device=device, bound_to_device=bound_to_device)
    if device:
        _require_device(machine)
    if architecture:
        return _elsewhere(backend, architecture, machine)
    chosen = _best(machine) if backend == AUTO else _named(backend, machine)
    if device and not chosen.gpu:
        raise UsageError(f"{chosen.backend} can't use --device {device}: {chosen.why}", hint="leave --device out")
    return chosen


def survey(notes: Notes) -> tuple[tuple[str, Finding], ...]:
    """Every backend, with its target here or with what it lacks."""
    machine = Inquiry(notes)
    return tuple((name, probe(machine)) for name, probe in PROBES)


def _require_device(machine: Inquiry) -> None:
    from trtreg.probing.nvml import choose_gpu

    gpus = machine.gpus
    if isinstance(gpus, Missing):
        raise UsageError(f"--device {machine.device} can't be used: {gpus.reason}", hint="leave --device out")
    gpu = choose_gpu(gpus, machine.device)
    if isinstance(gpu, Missing):
        raise UsageError(gpu.reason, hint=gpu.remedy)


def _named(backend: str, machine: Inquiry) -> Chosen:
    finding = dict(PROBES)[backend](machine)
    if isinstance(finding, Missing):
        raise UsageError(f"{backend} can't be used here: {finding.reason}", hint=finding.remedy)
    return _chosen(backend, finding, ["asked for", _place(finding), finding.shortfall])


def _best(machine: Inquiry) -> Chosen:
    """The first that is here. Without a driver nothing of NVIDIA's can run, whatever is installed: a hit needn't
    look for it."""
    reasons = [] if machine.has_driver else [_NO_DRIVER]
    remedy = ""
    for name, probe in PROBES if machine.has_driver else PROBES[-1:]:
        finding = probe(machine)
        if isinstance(finding, Available):
            place = _place(finding) if machine.has_driver else ""
            return _chosen(name, finding, [place, *reasons, finding.shortfall])
        reasons.append(finding.reason)
        remedy = finding.remedy
    raise UsageError(f"no backend can be used here: {'; '.join(dict.fromkeys(reasons))}", hint=remedy)


def _elsewhere(backend: str, architecture: str, machine: Inquiry) -> Chosen:
    from trtreg.probing import nvidia

    if backend not in (AUTO, TENSORRT_RTX):
        raise UsageError(
            f"{backend} builds for this machine alone, not for --target {architecture}",
            hint="leave --target out, or ask for --backend tensorrt-rtx",
        )
    try:
        finding = nvidia.cross_target_here(architecture)
    except ValueError as error:
        raise UsageError(str(error), hint="--target takes sm_89, or sm_86,sm_89 for several") from None
    if isinstance(finding, Missing):
        raise UsageError(f"nothing here builds for --target {architecture}: {finding.reason}", hint=finding.remedy)
    target = finding.target
    for here in nvidia.probe_each(TENSORRT_RTX, machine):
        if isinstance(here, Available) and here.gpu and runs_on(here.target, target):
            return _chosen(TENSORRT_RTX, Available(target, gpu=here.gpu), [f"--target; {here.gpu.name} can run it"])
    return Chosen(
        backend=TENSORRT_RTX, target=target, why=f"--target; no {target.architecture} here to run it", provable=False
    )


def _chosen(backend: str, finding: Available, words: list[str]) -> Chosen:
    return Chosen(
        backend=backend,
        target=finding.target,
        why="; ".join(dict.fromkeys(filter(None, words))),
        gpu=finding.gpu.uuid if finding.gpu else "",
        gpu_name=finding.gpu.name if finding.gpu else "",
    )


def _place(finding: Available) -> str:
    return f"on {finding.gpu.name}" if finding.gpu else "on the CPU"
