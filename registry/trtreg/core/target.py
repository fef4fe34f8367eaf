"""Where a plan must run: the half of a key that the machine decides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A runtime on an architecture. Every field is keyed; a field that doesn't bind a plan stays empty.

    runtime          `onnxruntime`, `tensorrt` or `tensorrt-rtx`
    runtime_version  exact, with the build number where there is one: `1.32.0`, `10.13.3.9`
    architecture     `x86_64` for a CPU, `sm_89` for a GPU, `sm_86,sm_89` for a plan made for several
    platform         operating system and machine: `linux-x86_64`
    cuda             the CUDA version that the runtime was built for, `12.9`
    device           the GPU's product name, only where the runtime binds plans to the type of device
    layout           fingerprint of ONNX Runtime's blocked layout on this CPU: a plan for another layout loads
                     without an error and answers wrongly
    """

    runtime: str
    runtime_version: str
    architecture: str
    platform: str
    cuda: str = ""
    device: str = ""
    layout: str = ""

    def __str__(self) -> str:
        words = [f"{self.runtime} {self.runtime_version}", self.architecture, self.platform]
        words += [f"CUDA {self.cuda}"] if self.cuda else []
        words += [self.device] if self.device else []
        words += [f"layout {self.layout}"] if self.layout else []
        return ", ".join(words)


def runs_on(machine: Target, plan: Target) -> bool:
    """Whether a machine that was probed as `machine` can run plans made for `plan`.

    A plan may have been made for several architectures, and needn't be bound to a type of device.
    """
    exact = ("runtime", "runtime_version", "platform", "cuda", "layout")
    return (
        all(getattr(machine, name) == getattr(plan, name) for name in exact)
        and plan.device in ("", machine.device)
        and machine.architecture in plan.architecture.split(",")
    )
