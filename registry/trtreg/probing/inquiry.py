"""One look at this machine, for all the probes of one choice."""

from __future__ import annotations

import os
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from trtreg.probing.finding import Finding, Missing
from trtreg.probing.machine import has_nvidia_driver

if TYPE_CHECKING:
    from collections.abc import Callable

    from trtreg.interfaces import Notes
    from trtreg.probing.nvml import Gpus


class Inquiry:
    """What is asked for, and what the machine said so far.

    device           the GPU by index or UUID; empty for the first that a runtime can use
    bound_to_device  whether plans of TensorRT are to be bound to the type of device
    """

    def __init__(self, notes: Notes, *, device: str = "", bound_to_device: bool = True) -> None:
        self.notes, self.device, self.bound_to_device = notes, device, bound_to_device

    @cached_property
    def has_driver(self) -> bool:
        """Whether NVIDIA's driver runs here."""
        return has_nvidia_driver()

    @cached_property
    def gpus(self) -> Gpus | Missing:
        """The GPUs that CUDA would see.

        NVML is asked on every request, though it takes 12 ms on an H100 and its bindings as long to import, and its
        answer is never noted down: GPUs are divided, taken away and given to containers while a machine runs, and
        nothing cheaper than NVML tells that they were.
        """
        if not self.has_driver:
            return Missing("no NVIDIA driver here", "build for another machine's GPU with --target sm_89")
        from trtreg.probing.nvml import read_gpus

        try:
            nvml = import_module("pynvml")
        except ImportError:
            return Missing("no GPU can be found without nvidia-ml-py", "pip install nvidia-ml-py")
        return read_gpus(nvml, os.environ)


Probe: TypeAlias = "Callable[[Inquiry], Finding]"
