"""A recipe's settings and profiles, handed to TensorRT's builder configuration."""

from __future__ import annotations

from typing import Any

from trtreg.backends.tensorrt_api import Product, member, set_architectures
from trtreg.backends.tensorrt_network import Bench
from trtreg.core.architecture import architecture_of
from trtreg.core.builder_settings import BuilderSettings, HardwareCompatibility, Weights
from trtreg.core.recipe import Recipe, ShapeRange
from trtreg.errors import UsageError

_EXAMPLE_SIZES = {0: (1, 4, 8)}
_OTHER_SIZES = (64, 256, 512)


def require_settings(
    product: Product, settings: BuilderSettings, capabilities: tuple[int, ...], *, has_gpu: bool
) -> None:
    """Raises UsageError for a setting that the product lacks or ignores, or that needs a GPU."""
    for name, why in product.without.items():
        if name in settings.chosen:
            raise UsageError(
                f"{product.title} has no use for {name}={settings.chosen[name]}: {why}",
                hint="leave it out, or ask for another --backend",
            )
    if settings.weights is not Weights.FIXED and not has_gpu:
        raise UsageError(
            f"{product.title} can't make {settings.weights} weights without a GPU: its builder fails there",
            hint="build on a machine with an NVIDIA GPU, or keep the weights fixed",
        )
    if settings.weights is not Weights.FIXED and len(capabilities) > 1:
        raise UsageError(
            f"{product.title} makes {settings.weights} weights for one architecture at a time, "
            f"not for {architecture_of(capabilities)}",
            hint="ask for one --target, or keep the weights fixed",
        )


def configure(bench: Bench, network: Any, recipe: Recipe, capabilities: tuple[int, ...]) -> Any:
    """The builder configuration of `recipe` for these compute capabilities. Raises UsageError."""
    config = bench.builder.create_builder_config()
    set_architectures(bench.trt, bench.product, config, capabilities)
    _apply(bench.trt, config, recipe.builder)
    for profile in _needed_profiles(network, recipe):
        _add_profile(bench, network, config, profile)
    return config


def _apply(trt: Any, config: Any, settings: BuilderSettings) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    if not settings.tf32:
        config.clear_flag(member(trt, "BuilderFlag", "TF32"))
    for wanted, flag in (
        (settings.sparsity, "SPARSE_WEIGHTS"),
        (settings.version_compatible, "VERSION_COMPATIBLE"),
        (settings.weights is not Weights.FIXED, "REFIT"),
        (settings.weights is Weights.STRIPPED, "STRIP_PLAN"),
    ):
        if wanted:
            config.set_flag(member(trt, "BuilderFlag", flag))
    if settings.hardware_compatibility is not HardwareCompatibility.NONE:
        level = _HARDWARE_LEVELS[settings.hardware_compatibility]
        config.hardware_compatibility_level = member(trt, "HardwareCompatibilityLevel", level)
    if settings.max_aux_streams is not None:
        config.max_aux_streams = settings.max_aux_streams
    if settings.optimization_level != BuilderSettings().optimization_level:
        config.builder_optimization_level = settings.optimization_level


_HARDWARE_LEVELS = {
    HardwareCompatibility.SAME_COMPUTE_CAPABILITY: "SAME_COMPUTE_CAPABILITY",
    HardwareCompatibility.AMPERE_PLUS: "AMPERE_PLUS",
}


def _needed_profiles(network: Any, recipe: Recipe) -> list[dict[str, ShapeRange]]:
    """The recipe's profiles by input; none for a static network, whose bytes a redundant one would change."""
    inputs = {tensor.name: tensor for tensor in map(network.get_input, range(network.num_inputs))}
    dynamic = [tensor for tensor in inputs.values() if _is_dynamic(tensor)]
    profiles = [{r.input: r for r in profile} for profile in recipe.optimization_profiles]
    for shapes in recipe.profiles:
        if shapes.input not in inputs:
            raise UsageError(f"{shapes}: the model has no input {shapes.input!r}", hint=_inputs_hint(inputs.values()))
        _require_fit(inputs[shapes.input], shapes)
    missing = [tensor for tensor in dynamic if tensor.name not in profiles[0]]
    if missing:
        raise UsageError(
            "the model leaves shapes open, and the recipe doesn't say which: " + ", ".join(map(_shown, missing)),
            hint="add, for example, " + " ".join(map(_example, missing)),
        )
    return profiles if dynamic else []


def _add_profile(bench: Bench, network: Any, config: Any, shapes: dict[str, ShapeRange]) -> None:
    profile = bench.builder.create_optimization_profile()
    for tensor in map(network.get_input, range(network.num_inputs)):
        if not _is_dynamic(tensor):
            continue
        shape = shapes[tensor.name]
        # An input whose values are shapes takes a range of values; a scalar of them is a list of one.
        put = profile.set_shape_input if tensor.is_shape_tensor else profile.set_shape
        put(tensor.name, shape.minimum, shape.optimum, shape.maximum)
    if config.add_optimization_profile(profile) < 0:
        raise UsageError(f"{bench.product.title} takes no such profile: {' '.join(map(str, shapes.values()))}")


def _is_dynamic(tensor: Any) -> bool:
    return tensor.is_shape_tensor or -1 in tuple(tensor.shape)


def _require_fit(tensor: Any, shapes: ShapeRange) -> None:
    dimensions = tuple(tensor.shape)
    fits = tensor.is_shape_tensor or (
        len(dimensions) == len(shapes.optimum)
        and all(
            size in (-1, low) and size in (-1, high)
            for size, low, high in zip(dimensions, shapes.minimum, shapes.maximum, strict=True)
        )
    )
    if not fits:
        raise UsageError(f"{shapes} contradicts the model, whose input is {_shown(tensor)}")


def _shown(tensor: Any) -> str:
    return f"{tensor.name}[{'x'.join('?' if size < 0 else str(size) for size in tensor.shape)}]"


def _inputs_hint(tensors: Any) -> str:
    return "its inputs are " + ", ".join(map(_shown, tensors))


def _example(tensor: Any) -> str:
    """A --shape flag that fits the input: batches of 1 to 8, and other open sizes of 64 to 512."""
    ranges = [
        (size, size, size) if size >= 0 else _EXAMPLE_SIZES.get(axis, _OTHER_SIZES)
        for axis, size in enumerate(tensor.shape)
    ]
    return f"--shape {tensor.name}=" + ":".join("x".join(map(str, shape)) for shape in zip(*ranges, strict=True))
