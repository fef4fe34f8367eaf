"""Plans and the original, run in turn in one process: what slows the machine down slows all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.backends import backend
from trtreg.backends.onnxruntime import OnnxRuntime, is_for_gpu
from trtreg.core.benchmark import BenchOrder, BenchReport, Contender, Copies, Timed, latencies
from trtreg.interfaces import Progress, ResidentSession, Session
from trtreg.workshop.cases import compared_cases

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

    Case = Mapping[str, Tensor]

ORIGINAL = "onnxruntime, original"


def race(order: BenchOrder, progress: Progress) -> BenchReport:
    """Measure what the order names. Raises what loading and running raise."""
    # Threads that spin after one contender's run would take the cores from the next.
    runtime = OnnxRuntime(spins=False)
    progress.stage("load")
    original = runtime.open_model(order.model)
    case, inputs = _inputs(order, original)
    racers = [_Racer(ORIGINAL, "", original, case, on_cpu=True)]
    for contender in order.contenders:
        session = loaded(contender, runtime, order.plugins)
        on_cpu = contender.backend == runtime.name and not is_for_gpu(contender.plan.name)
        racers.append(_Racer(contender.name, contender.key, session, case, on_cpu=on_cpu))
    progress.stage("bench", f"{order.rounds} rounds")
    for number in range(-order.warm_up, order.rounds):
        for racer in racers:
            racer.run(counts=number >= 0)
        progress.advance(max(number + 1, 0), order.rounds)
    return BenchReport(
        rows=tuple(racer.timed() for racer in racers),
        inputs=inputs,
        rounds=order.rounds,
        warm_up=order.warm_up,
        threads=len(os.sched_getaffinity(0)),
        versions=versions_of(order.contenders),
    )


def loaded(contender: Contender, runtime: OnnxRuntime, plugins: Mapping[str, Path]) -> Session:
    """The contender's plan, of whichever backend."""
    if contender.backend == runtime.name:
        return runtime.load(contender.plan)
    return backend(contender.backend, plugins=plugins).load(contender.plan)


def versions_of(contenders: Iterable[Contender]) -> dict[str, str]:
    """Of all runtimes that take part; ONNX Runtime always does."""
    backends = {contender.backend for contender in contenders} | {OnnxRuntime.name}
    return {name: version for b in sorted(backends) for name, version in backend(b).versions().items()}


def _inputs(order: BenchOrder, original: Session) -> tuple[Case, str]:
    """One case, and what it is in words."""
    from trtreg.gate.synthetic import synthesize

    if order.sample:
        case = next(iter(compared_cases(order.sample, order.signature)))
        return case, f"the first case of {order.sample.name}"
    drawn = synthesize(order.signature, order.recipe, original.run)
    # Of a profile they are the smallest, the best and the largest shapes.
    case = list(islice(drawn, 2))[-1]
    shapes = "; ".join(f"{name} {array.dtype.name}[{'x'.join(map(str, array.shape))}]" for name, array in case.items())
    return case, f"drawn: {shapes}"


class _Racer:
    """One contender on one case."""

    def __init__(self, name: str, key: str, session: Session, case: Case, *, on_cpu: bool) -> None:
        self._name, self._key, self._session, self._on_cpu = name, key, session, on_cpu
        self._case = as_taken(case, session)
        self._runs: list[float] = []
        self._resident: list[float] = []

    def run(self, *, counts: bool) -> None:
        milliseconds = _timed(lambda: self._session.run(self._case))
        if counts:
            self._runs.append(milliseconds)
        if isinstance(self._session, ResidentSession):
            execute = self._session.resident(self._case)
            milliseconds = _timed(execute)
            if counts:
                self._resident.append(milliseconds)

    def timed(self) -> Timed:
        apart = Copies.APART if self._resident else Copies.INCLUDED
        return Timed(
            name=self._name,
            key=self._key,
            run=latencies(self._runs),
            copies=Copies.NONE if self._on_cpu else apart,
            resident=latencies(self._resident) if self._resident else None,
        )


def as_taken(case: Case, session: Session) -> Case:
    """The case in the types of the session's inputs: a recipe may have let them take another float."""
    taken = {spec.name: spec.dtype for spec in session.signature.inputs}
    return {
        name: array.astype(taken[name], copy=False) if array.dtype.kind == "f" and name in taken else array
        for name, array in case.items()
    }


def _timed(run: Callable[[], object]) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - started)
