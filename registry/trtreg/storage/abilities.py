"""What a store can do, found out by doing it: `trtreg doctor --store`. What is written for that is removed again."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.errors import TrtregError

if TYPE_CHECKING:
    from trtreg.interfaces import Store

_WRITERS, _ROUNDS = 8, 4

Found = tuple[bool, str]
"""Whether it works, and what was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """One thing that a store does or doesn't, what was seen, and what that means for its users."""

    name: str
    works: bool
    seen: str
    means: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """`attempt` does it; `so` and `else_` say what follows where it works and where it doesn't. Where one
    that `is_needed` doesn't work, those after it aren't tried."""

    name: str
    attempt: Callable[[], Found]
    so: str
    else_: str
    is_needed: bool = False

    def run(self) -> Ability:
        """Never raises a deliberate error: a refusal is an answer."""
        try:
            works, seen = self.attempt()
        except TrtregError as error:
            works, seen = False, error.message
        return Ability(name=self.name, works=works, seen=seen, means=self.so if works else self.else_)


def of_any_store(store: Store) -> list[Trial]:
    """What every store should do, in the seam's own words."""
    mine = f"trials/{os.urandom(8).hex()}-"

    def written_and_listed() -> Found:
        name = f"{mine}written"
        try:
            store.replace_record(name, b"trtreg")
            listed, read = name in store.record_names(mine), store.read_record(name)
        finally:
            _remove(store, name)
        return listed and read == b"trtreg", "at once" if listed else "a new record isn't listed at once"

    def kept() -> Found:
        name = f"{mine}inserted"
        try:
            first, second = store.insert_record(name, b"first"), store.insert_record(name, b"second")
            read = store.read_record(name)
        finally:
            _remove(store, name)
        right = (first, second, read) == (True, False, b"first")
        return right, "the first stays" if right else f"{read!r} after two insertions"

    def raced() -> Found:
        winners = []
        with ThreadPoolExecutor(_WRITERS) as writers:
            for turn in range(_ROUNDS):
                name = f"{mine}raced-{turn}"
                try:
                    won = writers.map(lambda n, name=name: store.insert_record(name, b"%d" % n), range(_WRITERS))
                    winners.append(sum(won))
                finally:
                    _remove(store, name)
        right = set(winners) == {1}
        return right, f"{_ROUNDS} rounds of {_WRITERS} writers: {'one' if right else max(winners)} won each"

    def deleted() -> Found:
        name = f"{mine}deleted"
        store.replace_record(name, b"")
        store.delete_record(name)
        gone = store.read_record(name) is None
        return gone, "gone at once" if gone else "a deleted record is still read"

    return [
        Trial(
            name="write, read, list",
            attempt=written_and_listed,
            so="can be published to",
            else_="can only be read here, if at all; docs/s3.md lists what each role must be allowed",
            is_needed=True,
        ),
        Trial(
            name="insert, one after the other",
            attempt=kept,
            so="an earlier record is never overwritten",
            else_="records may be lost: don't publish here",
        ),
        Trial(
            name="insert, all at once",
            attempt=raced,
            so="of two who change a model in the same moment, one is told to do it again",
            else_="change models from one machine at a time; engines are safe, since their names are their contents",
        ),
        Trial(
            name="delete",
            attempt=deleted,
            so="trtreg store prune can make room",
            else_="nothing can be pruned, and a rejected engine's old record stays",
        ),
    ]


def _remove(store: Store, name: str) -> None:
    with suppress(TrtregError):
        store.delete_record(name)
