"""Requested input shapes against what a model takes: one request, one form, so that equal requests share a key."""

from __future__ import annotations

from collections.abc import Iterable

from trtreg.core.recipe import ShapeRange
from trtreg.core.signature import Signature, TensorSpec


def normalise_profiles(profiles: Iterable[ShapeRange], signature: Signature) -> tuple[ShapeRange, ...]:
    """The ranges that say more than the model does, by input name.

    A range that only repeats a static input's shape is dropped. Several ranges of one input, each for an optimization
    profile of its own, keep their order. Raises ValueError, with the input's real shape, for an unknown input, a
    wrong rank, or a size that contradicts a static dimension.
    """
    return tuple(r for r in sorted(profiles, key=lambda r: r.input) if _says_more(r, signature))


def _says_more(wanted: ShapeRange, signature: Signature) -> bool:
    spec = signature.input(wanted.input)
    if spec is None:
        raise ValueError(f"no input is called {wanted.input!r}; the model takes {_listed(signature)}")
    if len(wanted.optimum) != len(spec.dimensions):
        raise ValueError(f"{wanted} has {len(wanted.optimum)} dimensions, but the model takes {spec}")
    for low, high, size in zip(wanted.minimum, wanted.maximum, spec.dimensions, strict=True):
        if isinstance(size, int) and not low == high == size:
            raise ValueError(f"{wanted} contradicts the model, which takes {spec}")
    return spec.is_dynamic


def _listed(signature: Signature) -> str:
    return ", ".join(map(TensorSpec.__str__, signature.inputs)) or "no inputs"
