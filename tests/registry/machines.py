"""Machines of other architectures, as doubles: ONNX Runtime on this CPU under another name. Their gate really runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from trtreg.core.target import Target
from trtreg.interfaces import Notes
from trtreg.probing import Chosen, choose


def elsewhere(*architectures: str) -> Callable[..., Chosen]:
    """A machine that builds with ONNX Runtime for others of these architectures, and can't run them."""

    def chooses(backend: str, *, notes: Notes, **_: object) -> Chosen:
        here = choose("onnxruntime", notes=notes)
        target = replace(here.target, architecture=",".join(architectures))
        return Chosen(backend="onnxruntime", target=target, why="asked for", provable=False, gpu="")

    return chooses


def machine(architecture: str) -> Callable[..., Chosen]:
    """A machine of that architecture, which runs what is made for it."""

    def chooses(backend: str, *, notes: Notes, **_: object) -> Chosen:
        here = choose("onnxruntime", notes=notes)
        target = replace(here.target, architecture=architecture)
        return Chosen(backend="onnxruntime", target=target, why="asked for", provable=True, gpu="")

    return chooses


GPU = "NVIDIA RTX 4090"


def machine_with_gpu(backend: str, *, notes: Notes, **_: object) -> Chosen:
    """This machine, which takes a GPU that nobody has to be there: what runs, runs on the CPU."""
    here = choose("onnxruntime", notes=notes)
    return Chosen(backend="onnxruntime", target=here.target, why="asked for", gpu="GPU-1234", gpu_name=GPU)


def machine_with(runtime: str) -> Callable[..., Chosen]:
    """A machine with a release that there never was: whatever is installed, the child stops where it would load a
    library."""

    def chooses(backend: str, *, notes: Notes, **_: object) -> Chosen:
        target = Target(runtime=runtime, runtime_version="10.0.0.0", architecture="sm_89", platform="linux-x86_64")
        return Chosen(backend=runtime, target=target, why="asked for", provable=True, gpu="")

    return chooses
