"""Inputs for a model without a sample: seeded, by type and shape, with what they were drawn from on record.

What a model takes beyond its types (token ids below a vocabulary's size, pictures of a multiple of 32) isn't in its
signature. It is found by trying: the first size and the widest range of integers that the reference runs with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trtreg.core.recipe import Recipe
from trtreg.core.signature import Signature, TensorSpec
from trtreg.errors import TrtregError, UnusableModel, UsageError

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

    Case = dict[str, Tensor]
    Shapes = Mapping[str, tuple[int, ...]]

SEED = 20240229
CASES = 3

_SIZES = (64, 16, 224, 1, 32, 128, 320, 512, 576, 640)
"""Tried in this order for dimensions without a size, other than the batch, which is 1."""

_BOUNDS = (256, 128, 16, 4, 2, 1)
"""Tried in this order: integers are drawn from below them."""

_MOST_OF_FEW = 4

_WORDS = ("the", "engine", "of", "a", "model", "runs", "here", "")


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Seeded inputs. `shapes` has one entry a case, `bounds` what integers stay below, by input."""

    signature: Signature
    shapes: tuple[Shapes, ...]
    bounds: Mapping[str, int]
    seed: int = SEED

    def __len__(self) -> int:
        return len(self.shapes)

    def __iter__(self) -> Iterator[Case]:
        for number, shapes in enumerate(self.shapes):
            random = np.random.default_rng((self.seed, number))
            yield {s.name: _draw(random, s, shapes[s.name], self.bounds.get(s.name, 1)) for s in self.signature.inputs}

    @property
    def ranges(self) -> dict[str, str]:
        """By input: shapes and what the values are drawn from, in words."""
        words = {}
        for spec in self.signature.inputs:
            shapes = dict.fromkeys("x".join(map(str, s[spec.name])) or "scalar" for s in self.shapes)
            words[spec.name] = f"{spec.dtype}[{', '.join(shapes)}] {_drawn_from(spec, self.bounds.get(spec.name, 1))}"
        return words


def synthesize(
    signature: Signature, recipe: Recipe, attempt: Callable[[Case], object], *, seed: int = SEED
) -> Synthetic:
    """Inputs that `attempt`, the reference, runs with.

    With optimization profiles, the minimum, optimum and maximum of each; else CASES of one shape. Raises UsageError
    if no size is found for dimensions without one, UnusableModel if the reference can't run at all or takes a type
    that can't be drawn.
    """
    for spec in signature.inputs:
        _numpy_type(spec)
    shapes = _profile_shapes(signature, recipe)
    first = _first_that_runs(signature, shapes, attempt)
    profiled = [{**first, **s} for s in shapes] if any(shapes) else [first] * (CASES if signature.inputs else 1)
    return Synthetic(signature, tuple(profiled), _bounds(signature, first, attempt), seed)


def _profile_shapes(signature: Signature, recipe: Recipe) -> list[Shapes]:
    """What the profiles say, optimum first; [{}] if they say nothing."""
    shapes: list[Shapes] = []
    for profile in recipe.optimization_profiles:
        for corner in ("optimum", "minimum", "maximum"):
            sizes = {r.input: getattr(r, corner) for r in profile if signature.input(r.input)}
            if sizes not in shapes:
                shapes.append(sizes)
    return shapes


def _first_that_runs(signature: Signature, profiled: list[Shapes], attempt: Callable[[Case], object]) -> Shapes:
    batches = {s.dimensions[0] for s in signature.inputs if s.dimensions}
    is_open = any(_open_sizes(s, batches) for s in signature.inputs if s.name not in profiled[0])
    refusal: TrtregError | None = None
    for size in _SIZES if is_open else (1,):
        sizes = {
            s.name: tuple(_size(d, a, batches, size) for a, d in enumerate(s.dimensions)) for s in signature.inputs
        }
        shapes = {**sizes, **profiled[0]}
        try:
            attempt({s.name: _largest(s, shapes[s.name], 1) for s in signature.inputs})
        except (UnusableModel, UsageError) as error:
            # A reference says the one, a loaded session the other.
            refusal = error
        else:
            return shapes
    assert refusal is not None
    if not is_open:
        raise refusal
    raise UsageError(
        f"no size that was tried ({', '.join(map(str, sorted(_SIZES)))}) fits the model's open dimensions: {refusal}",
        hint="register a sample with the model (--sample NAME=FILE.npz), or give shapes (--shape INPUT=1x3x640x640)",
    )


def _open_sizes(spec: TensorSpec, batches: set[int | str]) -> bool:
    return any(isinstance(d, str) and not _is_batch(d, a, batches) for a, d in enumerate(spec.dimensions))


def _is_batch(dimension: int | str, axis: int, batches: set[int | str]) -> bool:
    # The first dimension, and where another input repeats its name.
    return axis == 0 or (dimension != "?" and dimension in batches)


def _size(dimension: int | str, axis: int, batches: set[int | str], size: int) -> int:
    if isinstance(dimension, int):
        return dimension
    return 1 if _is_batch(dimension, axis, batches) else size


def _bounds(signature: Signature, shapes: Shapes, attempt: Callable[[Case], object]) -> dict[str, int]:
    """For each input of integers the largest bound that runs, while the others stay at their least."""
    bounds: dict[str, int] = {}
    for spec in signature.inputs:
        if np.dtype(_numpy_type(spec)).kind not in "iu":
            continue
        bounds[spec.name] = 1
        for bound in _bounds_of(spec):
            case = {s.name: _largest(s, shapes[s.name], bound if s is spec else 1) for s in signature.inputs}
            try:
                attempt(case)
            except UnusableModel:
                continue
            bounds[spec.name] = bound
            break
    return bounds


def _bounds_of(spec: TensorSpec) -> tuple[int, ...]:
    if "mask" in spec.name.lower():
        # It becomes (1 - mask) * -1e4 or so: with other integers, infinity in 16 bits, and nobody's fault.
        return _BOUNDS[_BOUNDS.index(2) :]
    # A few integers are mostly a size or a count: large ones would ask for gigabytes.
    most = _MOST_OF_FEW if len(spec.dimensions) <= 1 else int(np.iinfo(_numpy_type(spec)).max) + 1
    return tuple(b for b in _BOUNDS if b <= most)


def _largest(spec: TensorSpec, shape: tuple[int, ...], bound: int) -> Tensor:
    """The values that fail first if `bound` is too wide."""
    if np.dtype(_numpy_type(spec)).kind in "iu":
        return np.full(shape, max(bound - 1, _least(spec)), spec.dtype)
    return _draw(np.random.default_rng(0), spec, shape, bound)


def _least(spec: TensorSpec) -> int:
    # A scalar is mostly a rate or a count, for which 0 means nothing.
    return 0 if spec.dimensions else 1


def _draw(random: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...], bound: int) -> Tensor:
    dtype = np.dtype(_numpy_type(spec))
    match dtype.kind:
        case "f":
            return np.asarray(random.random(shape), dtype)
        case "b":
            return np.asarray(random.integers(0, 2, shape), dtype)
        case "O":
            return np.asarray(random.choice(np.array(_WORDS, object), shape), object)
        case _:
            least = _least(spec)
            return np.asarray(random.integers(least, max(bound, least + 1), shape), dtype)


def _drawn_from(spec: TensorSpec, bound: int) -> str:
    match np.dtype(_numpy_type(spec)).kind:
        case "f":
            return "uniform in [0, 1)"
        case "b":
            return "false or true, evenly"
        case "O":
            return f"any of {len(_WORDS)} words"
        case _:
            least = _least(spec)
            return f"integers in [{least}, {max(bound, least + 1)})"


def _numpy_type(spec: TensorSpec) -> str:
    if spec.dtype == "string":
        return "O"
    try:
        can_be_drawn = np.dtype(spec.dtype).kind in "fbiu"
    except TypeError:
        can_be_drawn = False
    if not can_be_drawn:
        raise UnusableModel(
            f"{spec.name} is {spec.dtype}, of which no inputs can be drawn",
            hint="cast it inside the model, so that it takes float32",
        )
    return spec.dtype
