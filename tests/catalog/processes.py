"""Several processes that do the same thing at the same moment."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import TypeVar

from catalog.examples import manifest, model_with
from trtreg.catalog import migration
from trtreg.catalog.sql import SqlCatalog
from trtreg.core.lifecycle import EngineState

T = TypeVar("T")

_start: list[Barrier] = []


def at_once(count: int, work: Callable[[int, str], T], url: str) -> list[T]:
    """What `work(number, url)` returned in each of `count` processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trtreg.catalog.sql"])
    barrier = context.Barrier(count)
    with ProcessPoolExecutor(count, mp_context=context, initializer=_arm, initargs=(barrier,)) as pool:
        calls = [pool.submit(_together, work, number, url) for number in range(count)]
        return [call.result(timeout=60) for call in calls]


def _arm(barrier: Barrier) -> None:
    _start.append(barrier)


def _together(work: Callable[[int, str], T], number: int, url: str) -> T:
    _start[0].wait(timeout=60)
    return work(number, url)


def upgrade(_: int, url: str) -> None:
    migration.upgrade(url)


def look(_: int, url: str) -> int:
    """How many versions there are."""
    return len(SqlCatalog(url).versions())


def index_five_models(number: int, url: str) -> None:
    """Each with as many versions as its number, and all under one name once."""
    catalog = SqlCatalog(url)
    for i in range(5):
        contents = [str(n) for n in range(i + 1)]
        catalog.index_model(model_with(*contents, name=f"of-{number}-{i}", aliases=["prod"]))
        catalog.index_model(model_with(*contents, name="shared", aliases=[f"of-{number}"]))


def bless_a_plan_of_ones_own(number: int, url: str) -> None:
    catalog = SqlCatalog(url)
    for i in range(5):
        catalog.record_engine(manifest(plan=f"{number}.{i}"), EngineState.PUBLISHED, bless=True)


def assert_listed_whole(catalog: SqlCatalog) -> None:
    """After `index_five_models` by four."""
    for number in range(4):
        for i in range(5):
            model = catalog.model(f"of-{number}-{i}")
            assert model is not None
            assert (len(model.versions), model.aliases) == (i + 1, {"prod": i + 1})
    shared = catalog.model("shared")
    assert shared is not None
    assert list(shared.aliases.values()) == [len(shared.versions)]
    assert len(catalog.revisions()) == 21
