"""How fast engines are beside ONNX Runtime's run of the original: what is ordered, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from trtreg.core.recipe import Recipe
from trtreg.core.signature import Signature
from trtreg.core.work import SampleFile


class Copies(StrEnum):
    """What becomes of the copies between host and device."""

    NONE = "none"
    """The plan computes where the arrays lie."""
    APART = "apart"
    """Runs were measured with and without them."""
    INCLUDED = "included"
    """They are made, and can't be told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """An engine's plan as a file on this machine. `name` is what it is called in the report."""

    name: str
    key: str
    backend: str
    plan: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOrder:
    """What is to run in turn.

    model    the original, which ONNX Runtime runs as it would by itself
    recipe   whose shapes the inputs take where no sample says better
    sample   its first case is the input; drawn values where there is none
    rounds   in each, everything runs once
    warm_up  rounds before these, which aren't counted
    gpu      UUID of the GPU to use; empty for whichever the runtime takes
    """

    model: Path
    signature: Signature
    recipe: Recipe
    sample: SampleFile | None
    contenders: tuple[Contender, ...]
    rounds: int
    warm_up: int
    gpu: str = ""
    plugins: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.warm_up < 0:
            raise ValueError("at least one round is measured")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Of many runs, in milliseconds, and how many runs make a second."""

    p50: float
    p90: float
    p99: float
    least: float
    mean: float
    per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One contender's figures.

    key       empty for the original
    run       from numpy's arrays to numpy's arrays, the copies included
    resident  the run alone, inputs and outputs staying where the plan computes; None unless copies are told apart
    """

    name: str
    key: str
    run: Latencies
    copies: Copies
    resident: Latencies | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """The original first, then the engines in the order in which they were named.

    inputs      what was run, in words
    threads     that the CPU's sessions may use
    processors  what it ran on, in words: the CPU, and the GPU for those that take one
    """

    rows: tuple[Timed, ...]
    inputs: str
    rounds: int
    warm_up: int
    threads: int
    versions: Mapping[str, str]
    processors: str = ""

    def speed(self, row: Timed) -> float:
        """How many times as fast as the original, by the medians."""
        return self.rows[0].run.p50 / row.run.p50 if row.run.p50 else math.inf


def latencies(milliseconds: Sequence[float]) -> Latencies:
    """The summary of at least one run."""
    ordered = sorted(milliseconds)
    mean = math.fsum(ordered) / len(ordered)
    return Latencies(
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p99=percentile(ordered, 99),
        least=ordered[0],
        mean=mean,
        per_second=1000 / mean if mean else math.inf,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of rising values: the place at `percent` of the way, on a straight line between its neighbours."""
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
