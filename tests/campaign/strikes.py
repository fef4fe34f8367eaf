"""The blows: processes killed at random moments, connections cut and corrupted. Each is drawn from the world's seed."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from campaign.truth import Truth
from campaign.world import Call, World
from services.proxy import Plan, Trouble
from trtreg.errors import EXIT_CODES

if TYPE_CHECKING:
    from services.proxy import Proxy

Step = Callable[[World], tuple[Path, Sequence[str | Path]]]
"""One thing that users do: on which machine, and the arguments."""

_DEEP_EVERY = 50
_DELIBERATE = set(EXIT_CODES) - {1}


def _fetch(world: World) -> tuple[Path, Sequence[str | Path]]:
    shutil.rmtree(world.reader / "cache" / "v1" / "keys", ignore_errors=True)
    shutil.rmtree(world.reader / "cache" / "v1" / "plans", ignore_errors=True)
    return world.reader, ("get", "large@kept", "--no-build", "--json")


def _get(world: World) -> tuple[Path, Sequence[str | Path]]:
    name = world.draw.choice(["steady@prod", "passing", "large"])
    rebuild = ["--rebuild"] * (world.draw.random() < 0.5)
    return world.builder, ("get", name, *world.draw.choice([[], ["--fp16"]]), *rebuild, "--json")


def _build(world: World) -> tuple[Path, Sequence[str | Path]]:
    return world.builder, ("build", world.draw.choice(["steady", "passing"]), "--rebuild")


def _add(world: World) -> tuple[Path, Sequence[str | Path]]:
    return world.builder, world.addition(world.draw.choice(["steady", "passing"]))


def _upload(world: World) -> tuple[Path, Sequence[str | Path]]:
    return world.builder, world.addition("large", megabytes=12)


def _prune(world: World) -> tuple[Path, Sequence[str | Path]]:
    return world.builder, ("store", "prune", *PRUNE)


PRUNE = ("--keep-days", "0", "--keep-last", "1", "--keep-refused", "0", "--grace", "0s", "--alone")
KILLED: dict[str, Step] = {
    "fetch": _fetch,
    "get": _get,
    "build": _build,
    "add": _add,
    "upload": _upload,
    "prune": _prune,
}
CUT: dict[str, Step] = {"fetch": _fetch, "get": _get, "add": _add, "upload": _upload}


def harm(seed: int) -> Plan:
    """What befalls each connection: three of four are harmed, most in the few kilobytes that requests and records are,
    some in the midst of a large file. More, and no call would come to its end."""

    def plan(number: int) -> Trouble | None:
        chance = random.Random(seed * 1_000_003 + number)
        if chance.random() < 0.25:
            return None
        kind = chance.choice(["cut", "cut", "corrupt", "corrupt", "refuse"])
        reach = chance.choice([1 << 9, 1 << 10, 1 << 12, 4 << 20])
        return Trouble(kind=kind, way=chance.choice(["up", "down"]), after=int(chance.random() * reach))

    return plan


def kill(world: World, truth: Truth, count: int, tell: Callable[[str], None]) -> dict[str, int]:
    """Kill `count` calls, each at a moment drawn from the time that it takes; how many died of each kind.

    One that has ended by itself doesn't count, and what it served must be right.
    """
    killed = dict.fromkeys(KILLED, 0)
    longest = {kind: max(world.seconds_of(*_unpacked(step(world))) for _ in range(2)) for kind, step in KILLED.items()}
    while (done := sum(killed.values())) < count:
        kind = list(KILLED)[done % len(KILLED)]
        home, arguments = KILLED[kind](world)
        call = world.finish(world.start(home, *arguments), kill_after=world.draw.uniform(0.05, 0.9) * longest[kind])
        _judge(truth, call, arguments)
        truth.check(deep=done % _DEEP_EVERY == 0)
        if call.code < 0:
            killed[kind] += 1
            tell(f"killed {done + 1} of {count}: {kind}")
    return killed


def cut(world: World, truth: Truth, proxy: Proxy, count: int, tell: Callable[[str], None]) -> dict[str, int]:
    """Cut or corrupt `count` connections of calls that go through the proxy; how the calls ended, by exit code."""
    ended: dict[str, int] = {}
    before = proxy.harmed
    while (harmed := proxy.harmed - before) < count:
        kind = world.draw.choice(list(CUT))
        home, arguments = CUT[kind](world)
        call = world.finish(world.start(home, *arguments))
        assert call.code in _DELIBERATE, f"exit {call.code} of {arguments}: {call.said}"
        _judge(truth, call, arguments)
        truth.check(deep=sum(ended.values()) % _DEEP_EVERY == 0)
        outcome = f"{kind}: exit {call.code}"
        ended[outcome] = ended.get(outcome, 0) + 1
        tell(f"{harmed} of {count} connections harmed: {outcome}")
    return ended


def sweep(world: World, truth: Truth) -> list[str]:
    """What is still lying about after the usual upkeep, its waiting times over."""
    for _ in range(2):
        world.call(world.builder, "store", "prune", *PRUNE)
    for home in (world.builder, world.reader):
        _age(home / "cache")
        world.call(home, "cache", "prune", "--max-size", "0")
    truth.check(deep=True)
    left = truth.leftovers()
    for home in (world.builder, world.reader):
        left += [str(p) for p in (home / "cache").rglob("*") if p.name.startswith((".tmp-", "work-"))]
    return left


def _age(folder: Path) -> None:
    """Two hours pass for all files in `folder`: a cache takes a draft for abandoned after one."""
    then = time.time() - 7200
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def _unpacked(step: tuple[Path, Sequence[str | Path]]) -> list[str | Path]:
    home, arguments = step
    return [home, *arguments]


def _judge(truth: Truth, call: Call, arguments: Sequence[str | Path]) -> None:
    """A call that ended well has served what is right."""
    if call.code == 0 and arguments[0] == "get":
        truth.serves(call)
