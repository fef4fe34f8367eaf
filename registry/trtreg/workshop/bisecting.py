"""Which node loses a recipe's accuracy, and which few must stay in fp32: rewriting, running and judging many times."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING

from trtreg.core.bisection import Bisection, Found, Suspect, search_nodes, spelled
from trtreg.core.recipe import Precision
from trtreg.core.verdict import Tolerance, judge
from trtreg.core.work import WorkOrder
from trtreg.errors import BuildFailed, UnusableModel
from trtreg.gate.measure import Tally
from trtreg.gate.reference import Reference
from trtreg.interfaces import Progress
from trtreg.onnx_models.exposing import read_nodes, write_exposed
from trtreg.onnx_models.precision import rewrite
from trtreg.onnx_models.rounding import write_rounded
from trtreg.workshop.cases import calibration_cases, compared_cases

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

    Case = Mapping[str, Tensor]

MOST_CASES = 8
"""That a try is judged by: as many as tell an honest int8 detector from another network."""
_AT_ONCE = 32
"""Values that are fetched in one run: a network's inner values are many times its size."""


def bisect(order: WorkOrder, most_tests: int, progress: Progress) -> Bisection:
    """Search for what the recipe of `order` must keep in fp32.

    What is judged is the model that the rewriting makes, run by ONNX Runtime on the CPU without optimisations; for
    fp16 and bf16 its twin that rounds after every node. What a backend's build adds, this doesn't see.
    """
    return _Bisector(order, progress).search(most_tests)


class _Bisector:
    def __init__(self, order: WorkOrder, progress: Progress) -> None:
        self._order, self._progress = order, progress
        progress.stage("load")
        self._original = Reference(order.model)
        calibration = order.calibration
        self._calibration = list(calibration_cases(calibration, order.signature)) if calibration else None
        self._all = self._cases()
        self._few = self._all[:MOST_CASES]
        self._expected = [self._original.run(case) for case in self._few]
        self._tests = self._nodes = 0

    def search(self, most_tests: int) -> Bisection:
        nodes = read_nodes(self._order.model)
        operators = {name: operator for name, operator, _ in nodes}
        self._nodes = len(operators)
        self._progress.stage("compare")
        reasons = self._reasons(frozenset(), self._few, self._expected)
        found = Found(nodes=frozenset(), blocks=frozenset(), smallest=True, tests=0)
        suspects: list[Suspect] = []
        left: tuple[str, ...] = ()
        if reasons:
            suspects = self._suspects(nodes)
            self._progress.stage("search", f"{len(operators)} nodes")
            found = search_nodes(operators, self._passes, most_tests)
            self._progress.stage("verify")
            left = self._left(found.nodes) if found.nodes else reasons
        return Bisection(
            precision=str(self._order.recipe.precision),
            reasons=reasons,
            first=suspects[0] if suspects else None,
            beyond=len({suspect.node for suspect in suspects}),
            compared=len(nodes),
            keep=spelled(found.nodes, operators),
            nodes=tuple(sorted(found.nodes)),
            blocks=spelled(found.blocks, operators),
            left=left,
            smallest=found.smallest,
            tests=found.tests,
            cases=len(self._few),
        )

    def _cases(self) -> list[Case]:
        """Of every sample, in turn, so that the few are of all of them; drawn ones where there is none."""
        from trtreg.gate.synthetic import synthesize

        if not self._order.samples:
            return list(synthesize(self._order.signature, self._order.recipe, self._original.run))
        read = [list(compared_cases(sample, self._order.signature)) for sample in self._order.samples]
        longest = max(map(len, read))
        return [cases[place] for place in range(longest) for cases in read if place < len(cases)]

    def _passes(self, keep: frozenset[str]) -> bool:
        self._tests += 1
        if len(keep) == self._nodes and self._order.recipe.precision.is_calibrated:
            # It would be the original; and a quantizer that has nothing to do refuses.
            return True
        reasons = self._reasons(keep, self._few, self._expected)
        self._progress.say(f"try {self._tests}: {len(keep)} nodes in fp32: {reasons[0] if reasons else 'passes'}")
        return not reasons

    def _left(self, keep: frozenset[str]) -> tuple[str, ...]:
        """Why it still fails on all cases, calibrated on all."""
        expected = [*self._expected, *(self._original.run(case) for case in self._all[len(self._few) :])]
        return self._reasons(keep, self._all, expected, full=True)

    def _reasons(
        self, keep: frozenset[str], cases: Sequence[Case], expected: Sequence[Case], *, full: bool = False
    ) -> tuple[str, ...]:
        with self._rewritten(keep, full=full) as (model, failure):
            if model is None:
                return (failure,)
            tally = Tally()
            try:
                candidate = Reference(model)
                for case, wanted in zip(cases, expected, strict=True):
                    tally.add(wanted, candidate.run(case), any_float=not self._order.recipe.keep_io_types)
            except UnusableModel as error:
                return (error.message,)
        tolerance = self._order.tolerance
        return judge(tally.deviations(tolerance), tally.mismatches, tolerance)

    def _rewritten(self, keep: frozenset[str], *, full: bool = False) -> _Model:
        calibration = self._calibration
        if calibration is not None and not full:
            calibration = calibration[:MOST_CASES]
        return _Model(self._order, keep, calibration)

    def _suspects(self, nodes: Sequence[tuple[str, str, tuple[str, ...]]]) -> list[Suspect]:
        """Nodes beyond the tolerance on the first case, in the order in which they compute."""
        values = [value for _, _, results in nodes for value in results]
        with self._rewritten(frozenset()) as (model, _), TemporaryDirectory(dir=self._order.folder) as scratch:
            if model is None:
                return []
            theirs = write_exposed(model, values, Path(scratch, "theirs.onnx"))
            ours = write_exposed(self._order.model, list(theirs), Path(scratch, "ours.onnx"))
            try:
                pair = Reference(Path(scratch, "ours.onnx")), Reference(Path(scratch, "theirs.onnx"))
                tolerated = dict(self._strains(ours, theirs, *pair))
            except UnusableModel as error:
                self._progress.say(f"the inner values can't be compared: {error.message}")
                return []
        return [
            Suspect(node=node, operator=operator, place=place, relative_l2=l2, strain=strain)
            for node, operator, results in nodes
            for value in results
            for place, l2, strain in tolerated.get(value, [])
        ]

    def _strains(
        self, ours: Mapping[str, str], theirs: Mapping[str, str], original: Reference, rewritten: Reference
    ) -> Iterator[tuple[str, list[tuple[str, float, float]]]]:
        """By value: where it is beyond the tolerance, how far, and how many times the allowed."""
        case, tolerance = self._few[0], self._order.tolerance
        waiting = iter([value for value in theirs if value in ours])
        while chunk := list(islice(waiting, _AT_ONCE)):
            left = original.run(case, only=[ours[value] for value in chunk])
            right = rewritten.run(case, only=[theirs[value] for value in chunk])
            for value in chunk:
                tally = Tally()
                tally.add({value: left[ours[value]]}, {value: right[theirs[value]]}, any_float=True)
                yield value, _beyond(tally, tolerance)


def _beyond(tally: Tally, tolerance: Tolerance) -> list[tuple[str, float, float]]:
    found = [(d.strain(tolerance), d) for d in tally.deviations(tolerance)]
    # NaN isn't within anything.
    worst = sorted(((s, d) for s, d in found if not s <= 1), key=lambda pair: -pair[0])[:1]
    return [(d.place, d.relative_l2, strain) for strain, d in worst]


class _Model:
    """The rewritten model that keeps some nodes in fp32, or its rounding twin, while the context lasts; else why there
    is none."""

    def __init__(self, order: WorkOrder, keep: frozenset[str], calibration: Sequence[Case] | None) -> None:
        self._order, self._calibration = order, calibration
        kept = tuple(sorted({*order.recipe.keep_fp32, *keep}))
        self._recipe = replace(order.recipe, keep_fp32=kept)

    def __enter__(self) -> tuple[Path | None, str]:
        self._folder = Path(mkdtemp(dir=self._order.folder))
        try:
            return self._written(), ""
        except (BuildFailed, UnusableModel) as error:
            return None, error.message

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _written(self) -> Path:
        order, recipe = self._order, self._recipe
        rewritten = rewrite(
            model=order.model,
            recipe=recipe,
            runtime=order.target.runtime,
            folder=self._folder,
            calibration=self._calibration,
        ).path
        halved = recipe.precision in (Precision.FP16, Precision.BF16)
        return (write_rounded(rewritten, self._folder) if halved else None) or rewritten
