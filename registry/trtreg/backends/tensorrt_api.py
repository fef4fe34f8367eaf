"""What differs between TensorRT 10, TensorRT 11 and TensorRT-RTX, each difference in one place.

Names of flags are kept, never their numbers: those shift from one major version to the next.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtreg.core.architecture import architecture_of
from trtreg.errors import Disturbed, UsageError

TENSORRT = "tensorrt"
TENSORRT_RTX = "tensorrt-rtx"

_FIRST_WITH: dict[str, str] = {
    "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY": "TensorRT 10.9",
}
"""What the oldest TensorRT that we drive lacks, and the first version whose bindings have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One of NVIDIA's two builders.

    name          of the backend and of the runtime in a target
    title         as people write it
    module        to import
    cross_builds  whether it builds, without a GPU, for the architectures that it is told
    without       settings that it lacks or ignores, and why
    """

    name: str
    title: str
    module: str
    cross_builds: bool
    without: dict[str, str]


PRODUCTS: dict[str, Product] = {
    TENSORRT: Product(name=TENSORRT, title="TensorRT", module="tensorrt", cross_builds=False, without={}),
    TENSORRT_RTX: Product(
        name=TENSORRT_RTX,
        title="TensorRT-RTX",
        module="tensorrt_rtx",
        cross_builds=True,
        without={
            "optimization_level": "it makes the same plan at every level",
            "hardware_compatibility": "its plans run on every architecture that they are built for; list those",
            "version_compatible": "its plans load only in the release that built them",
            "sparsity": "it makes the same plan with and without",
            "plugins": "its networks take no plugins",
        },
    ),
}


def product_module(product: Product) -> Any:
    """The product's Python module. Raises Disturbed where it isn't installed or its libraries don't load."""
    try:
        return importlib.import_module(product.module)
    except ModuleNotFoundError as error:
        if error.name != product.module:
            raise _unloadable(product, error) from None
        raise Disturbed(
            f"{product.title} isn't installed: there is no module {product.module}",
            hint=f"pip install {product.name}-cu12, or ask for another --backend",
        ) from None
    except (ImportError, OSError) as error:
        raise _unloadable(product, error) from None


def member(trt: Any, enumeration: str, name: str) -> Any:
    """An enumeration's member. Raises UsageError, with the version that has it, where this module lacks it."""
    found = getattr(getattr(trt, enumeration, None), name, None)
    if found is None:
        first = _FIRST_WITH.get(f"{enumeration}.{name}")
        raise UsageError(
            f"{trt.__name__} {trt.__version__} has no {enumeration}.{name}",
            hint=f"{first} has it" if first else "leave the setting out, or ask for another --backend",
        )
    return found


def create_network(trt: Any, builder: Any) -> Any:
    """A strongly typed network: its types are the model's. TensorRT 11 and TensorRT-RTX know no other kind."""
    network = builder.create_network(1 << int(member(trt, "NetworkDefinitionCreationFlag", "STRONGLY_TYPED")))
    # The default name counts the networks of a process and is written into the plan.
    network.name = "trtreg"
    return network


def known_architectures(trt: Any) -> tuple[int, ...]:
    """The compute capabilities that TensorRT-RTX builds for, times ten; empty for TensorRT."""
    names = getattr(getattr(trt, "ComputeCapability", None), "__members__", {})
    return tuple(sorted(int(n[2:]) for n in names if n.startswith("SM")))


def require_architectures(trt: Any, product: Product, capabilities: tuple[int, ...], here: tuple[int, ...]) -> None:
    """Raises UsageError where the product doesn't build for these compute capabilities on a machine with GPUs of
    those `here`, of which TensorRT takes the first."""
    if not product.cross_builds:
        if capabilities != here[:1]:
            raise UsageError(
                f"{product.title} builds for the GPU it runs on, which is {architecture_of(here[:1]) or 'none'} here, "
                f"not for {architecture_of(capabilities)}",
                hint="build on a machine with that GPU, or ask for --backend tensorrt-rtx",
            )
        return
    known = known_architectures(trt)
    if unknown := tuple(c for c in capabilities if c not in known):
        raise UsageError(
            f"{product.title} {trt.__version__} doesn't build for {architecture_of(unknown)}",
            hint=f"it builds for {architecture_of(known)}",
        )


def set_architectures(trt: Any, product: Product, config: Any, capabilities: tuple[int, ...]) -> None:
    """Build for these compute capabilities, which `require_architectures` has let through."""
    if not product.cross_builds:
        return
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{capability}"), index)


def unsupported_nodes(parser: Any, model: Path, count: int) -> list[int]:
    """Indices of those of the `count` nodes of the main graph that the parser can't take.

    What it lists are the subgraphs that it would take; a node that it wouldn't is in none of them. TensorRT 10.0
    has no such list.
    """
    if not hasattr(parser, "supports_model_v2"):
        return []
    parser.supports_model_v2(model.read_bytes(), str(model))
    taken = {node for index in range(parser.num_subgraphs) for node in parser.get_subgraph_nodes(index)}
    # Where it lists nothing at all, it hasn't come to the nodes.
    return [node for node in range(count) if node not in taken] if taken else []


def _unloadable(product: Product, error: Exception) -> Disturbed:
    return Disturbed(
        f"{product.title} is installed, but can't be loaded: {error}",
        hint="`trtreg doctor` shows which versions and libraries are there",
    )
