"""An upgrade is rehearsed: listed on a machine that hasn't got it, built on one that has, and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.test_compatibility import L4
from registry.conftest import add
from registry.test_compatible_engines import machine
from trtreg.core.comparison import P50, RELATIVE_L2, STRAIN
from trtreg.core.names import parse_model_name
from trtreg.core.upgrade import Standing
from trtreg.errors import NotFound, UsageError
from trtreg.jobs.jobs import Jobs, failure_of
from trtreg.jobs.upgrading import Upgrader
from trtreg.registry import Registry

LATER = "11.4.0.9"
UPGRADED = replace(L4, runtime_version=LATER)


@pytest.fixture
def today(classifier: Path) -> Registry:
    """A registry on a machine of today with two engines of `tiny@prod`."""
    registry = machine(L4)
    add(registry, "tiny", classifier, aliases=["prod"])
    for precision in ("fp32", "fp16"):
        registry.get("tiny", precision=precision)
    return registry


def test_it_is_listed_here_built_where_the_version_is_and_compared_with_today(today: Registry) -> None:
    plan = Upgrader(today, list).plan({"tensorrt": LATER}, alias="prod")
    assert [s.standing for s in plan.successions] == [Standing.NEEDED] * 2
    assert plan.efforts[0].seconds > 0

    # Not on the machine of today.
    refused = list(Upgrader(today, list).rehearse(plan, Jobs(today)))
    assert [r.outcome.word for r in refused] == ["miss", "miss"]
    assert "can't be built here" in str(failure_of([r.outcome for r in refused]))

    upgraded = machine(UPGRADED)
    rehearsed = list(Upgrader(upgraded, list).rehearse(plan, Jobs(upgraded)))
    assert [r.outcome.word for r in rehearsed] == ["done", "done"]
    assert failure_of([r.outcome for r in rehearsed]) is None
    for each in rehearsed:
        assert each.comparison is not None
        assert each.comparison.same_inputs
        assert [(f.figure, f.today == f.then) for f in each.comparison.figures] == [
            (STRAIN, True),
            (RELATIVE_L2, True),
            (P50, True),
        ]
    # What was rehearsed is a hit after the upgrade, and nothing is left to do.
    assert upgraded.get("tiny@prod", precision="fp16", build=False).source == "store"
    again = Upgrader(today, list).plan({"tensorrt": LATER})
    assert [s.standing for s in again.successions] == [Standing.READY] * 2
    assert [r.outcome.word for r in Upgrader(today, list).rehearse(again, Jobs(today))] == ["done", "done"]


def test_a_version_by_its_beginning_is_the_one_of_this_machine_or_is_asked_for(today: Registry) -> None:
    plan = Upgrader(today, lambda: [UPGRADED]).plan({"tensorrt": "11.4.0"})
    assert plan.upgrade.versions == {"tensorrt": LATER}
    plan = Upgrader(today, list).plan({"tensorrt": "11.4.0"})
    with pytest.raises(UsageError, match=r"which tensorrt 11\.4\.0 is to be built for"):
        list(Upgrader(today, list).rehearse(plan, Jobs(today)))


def test_an_alias_or_a_model_that_nobody_has_is_not_found(today: Registry) -> None:
    upgrader = Upgrader(today, list)
    with pytest.raises(NotFound, match="no version has the alias 'beta'"):
        upgrader.plan({"tensorrt": LATER}, alias="beta")
    with pytest.raises(NotFound):
        upgrader.plan({"tensorrt": LATER}, model=parse_model_name("none"))
    assert len(upgrader.plan({"tensorrt": LATER}, model=parse_model_name("tiny@prod")).needed) == 2
