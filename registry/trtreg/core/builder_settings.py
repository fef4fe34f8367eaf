"""What a recipe tells NVIDIA's builders beyond precision and shapes. Every field is keyed.

A default is what the builder does when it is told nothing, except for `workspace`, which must not depend on the
machine. A setting that a product ignores or lacks may only have its default there, so that two keys never name
one and the same plan; the backend refuses the rest and says why. docs/tensorrt.md has the table.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum

from trtreg.core.architecture import parse_architecture
from trtreg.core.digest import is_digest

DEFAULT_WORKSPACE = 4 << 30
"""Bytes. The builder's own default is the memory of the device at hand, and it changes the bytes of a plan."""

_FIRST_WITH_TF32 = 80
"""The compute capability, times ten."""


class HardwareCompatibility(StrEnum):
    """On which other GPUs a plan of TensorRT may run."""

    NONE = "none"
    SAME_COMPUTE_CAPABILITY = "same-compute-capability"
    AMPERE_PLUS = "ampere+"

    @property
    def widens(self) -> bool:
        """Whether the plan isn't bound to the type of GPU that it was built on."""
        return self is not HardwareCompatibility.NONE


class Weights(StrEnum):
    """Whether a plan carries its weights for good, with the option to replace them, or not at all."""

    FIXED = "fixed"
    REFITTABLE = "refittable"
    STRIPPED = "stripped"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderSettings:
    """The builder's settings that may change a plan.

    tf32                    let fp32 products round their inputs to 10 bits of mantissa, where that is faster
    workspace               upper limit of the scratch memory of any layer, in bytes
    optimization_level      0 to 5: how long the builder searches for faster kernels
    hardware_compatibility  on which other GPUs the plan may run
    version_compatible      whether later versions of TensorRT may run the plan
    sparsity                let the builder use kernels for weights with 2:4 structured zeros
    weights                 fixed, refittable, or stripped from the plan
    plugins                 SHA-256 of each plugin library, sorted
    max_aux_streams         CUDA streams beside the main one that the plan may use; None for the builder's choice
    """

    tf32: bool = True
    workspace: int = DEFAULT_WORKSPACE
    optimization_level: int = 3
    hardware_compatibility: HardwareCompatibility = HardwareCompatibility.NONE
    version_compatible: bool = False
    sparsity: bool = False
    weights: Weights = Weights.FIXED
    plugins: tuple[str, ...] = ()
    max_aux_streams: int | None = None

    def __post_init__(self) -> None:
        if not self.workspace > 0:
            raise ValueError(f"a workspace of {self.workspace} bytes")
        if not 0 <= self.optimization_level <= 5:
            raise ValueError(f"the builder's optimization level is 0 to 5, not {self.optimization_level}")
        if self.max_aux_streams is not None and self.max_aux_streams < 0:
            raise ValueError(f"{self.max_aux_streams} auxiliary streams")
        if list(self.plugins) != sorted(set(self.plugins)) or not all(map(is_digest, self.plugins)):
            raise ValueError(f"plugins are sorted, distinct SHA-256 digests: {self.plugins}")

    @property
    def chosen(self) -> dict[str, object]:
        """The settings that aren't at their default, by field name."""
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    def __str__(self) -> str:
        return " ".join(f"{name}={_shown(value)}" for name, value in self.chosen.items()) or "defaults"


def foreign_to_onnxruntime(settings: BuilderSettings, architecture: str) -> BuilderSettings:
    """What ONNX Runtime has no use for on that architecture: all but TF32 on a GPU that has it."""
    has_tf32 = architecture.startswith("sm_") and min(parse_architecture(architecture)) >= _FIRST_WITH_TF32
    return replace(settings, tf32=True) if has_tf32 else settings


HELP: dict[str, str] = {
    "tf32": "Allow TF32: round the inputs of fp32 products to 10 bits of mantissa, accumulate in fp32 (TF32).",
    "workspace": "Memory pool limit for the workspace: the most scratch memory that one layer may use (WORKSPACE).",
    "optimization_level": "Builder optimization level, 0 to 5: higher levels search longer for faster kernels.",
    "hardware_compatibility": "Hardware compatibility level: none, same-compute-capability, or ampere+.",
    "version_compatible": "Build a version-compatible engine, which later TensorRT runtimes can run "
    "(VERSION_COMPATIBLE).",
    "sparsity": "Sparse weights: use kernels for weights with 2:4 structured sparsity (SPARSE_WEIGHTS).",
    "weights": "fixed; refittable: weights can be replaced in the engine (REFIT); "
    "stripped: the engine is serialized without weights, to be refitted (STRIP_PLAN).",
    "plugins": "Plugin library to load for the network's custom operators; it lies in the folder TRTREG_PLUGINS.",
    "max_aux_streams": "Most auxiliary streams that the engine may run on beside the main stream; 0 for none.",
}
"""One line a field, in TensorRT's words, for the options of the command line."""


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
