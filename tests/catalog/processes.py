"""Several processes that do the same thing at the same moment."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import TypeVar

from catalog.examples import facts, manifest
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


def add_five_versions(number: int, url: str) -> list[int]:
    """The numbers that they were given."""
    catalog = SqlCatalog(url)
    return [catalog.add_version("yolov5s", facts(f"{number}.{i}"))[0].version for i in range(5)]


def add_the_same_version(_: int, url: str) -> tuple[int, bool]:
    version, is_new = SqlCatalog(url).add_version("yolov5s", facts())
    return version.version, is_new


def bless_a_plan_of_ones_own(number: int, url: str) -> None:
    catalog = SqlCatalog(url)
    for i in range(5):
        catalog.record_engine(manifest(plan=f"{number}.{i}"), EngineState.PUBLISHED, bless=True)
