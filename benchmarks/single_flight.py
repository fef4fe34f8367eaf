"""One build for everybody, measured: processes with caches of their own, as on hosts of their own, one PostgreSQL.

    python benchmarks/single_flight.py [--processes 64] [--rounds 20] [--kills 100] [--freezes 20] [--heartbeat 5]

Every round asks for a model that nobody has built.

rounds   all processes ask for it at once: how many built, and whether all got the same plan
kills    one builds and one waits; the builder gets SIGKILL somewhere in the build: when the other one begins
freezes  the builder gets SIGSTOP instead, and SIGCONT once the other one has published: what becomes of it

The server is TRTREG_TEST_POSTGRES; a database is made and dropped. Exit 1 unless every round went as it should.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import machine
from sqlalchemy import create_engine, make_url, text

from trtreg.catalog import migration
from trtreg.catalog.leases import SqlLeases
from trtreg.core.lease import Holder
from trtreg.core.manifest import read_manifest
from trtreg.errors import TrtregError
from trtreg.wiring import wiring

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from small_models import write_classifier

SERVER = os.environ.get("TRTREG_TEST_POSTGRES", "postgresql+psycopg://127.0.0.1:5432/test")
WAIT = 300.0
_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Team:
    """What all processes share."""

    folder: Path
    catalog: str
    heartbeat: float

    def settings(self, cache: str) -> wiring.Settings:
        os.environ["TRTREG_HEARTBEAT"] = str(self.heartbeat)
        flags = {"home": str(self.folder / "home"), "catalog": self.catalog, "cache": str(self.folder / cache)}
        return wiring.settings(flags)

    def add_model(self, seed: int) -> str:
        registry, name = wiring.open_registry(settings=self.settings("adding")), f"model{seed}"
        path = write_classifier(self.folder / f"{name}.onnx", seed=seed)
        registry.models.add(name, path, samples={}, tags={}, tolerance={}, progress=registry.progress)
        return name


def ask(team: Team, cache: str, name: str, start: float, answer: Connection) -> None:
    """In a process of its own: the source and the plan's digest, or the error's kind."""
    registry = wiring.open_registry(settings=team.settings(cache))
    time.sleep(max(0.0, start - time.time()))
    try:
        engine = registry.get(name)
        answer.send((engine.source, read_manifest(engine.manifest_json).plan_digest))
    except TrtregError as error:
        answer.send((error.kind, error.message))


def started(team: Team, cache: str, name: str, start: float = 0.0) -> tuple[BaseProcess, Connection]:
    receiving, sending = _context.Pipe(duplex=False)
    process = _context.Process(target=ask, args=(team, cache, name, start, sending))
    process.start()
    sending.close()
    return process, receiving


def answer_of(process: BaseProcess, receiving: Connection) -> tuple[str, str]:
    if not receiving.poll(WAIT):
        return "silent", ""
    try:
        return receiving.recv()
    except EOFError:
        return "dead", ""
    finally:
        process.join()


def holder(leases: SqlLeases, *, other_than: int = 0) -> Holder:
    """Who builds, as soon as it is another process."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        for live in leases.live():
            if live.owner.process != other_than:
                return live
        time.sleep(0.01)
    raise SystemExit("nobody builds")


def all_at_once(team: Team, processes: int, rounds: int) -> bool:
    good, seconds = 0, []
    for number in range(rounds):
        name = team.add_model(1_000 + number)
        start = time.time() + 0.05 * processes
        running = [started(team, f"{name}-{i}", name, start) for i in range(processes)]
        answers = [answer_of(*one) for one in running]
        seconds.append(time.time() - start)
        built = sum(source == "built" for source, _ in answers)
        served = sum(source in ("built", "store", "cache") for source, _ in answers)
        plans = {plan for source, plan in answers}
        good += (built, served, len(plans)) == (1, processes, 1)
        print(f"  round {number + 1}: {built} built, {seconds[-1]:.1f} s", file=sys.stderr)
        if (built, served, len(plans)) != (1, processes, 1):
            print(f"  {name}: {built} built, {served} served, {len(plans)} plans: {sorted(set(answers))}")
    if rounds:
        print(
            f"{processes} processes, one missing key: {good} of {rounds} rounds with 1 build and one plan for all; "
            f"all served after {statistics.median(seconds):.1f} s (median), {max(seconds):.1f} s (longest)"
        )
    return good == rounds


def disturbed(team: Team, rounds: int, *, freeze: bool, draw: random.Random) -> bool:
    leases, good, begun_after = SqlLeases(team.catalog), 0, []
    for number in range(rounds):
        name = team.add_model((3_000 if freeze else 2_000) + number)
        first, first_answer = started(team, f"{name}-a", name)
        holder(leases)
        second, second_answer = started(team, f"{name}-b", name)
        time.sleep(draw.uniform(0.0, 0.5))
        assert first.pid
        os.kill(first.pid, signal.SIGSTOP if freeze else signal.SIGKILL)
        struck = time.monotonic()
        holder(leases, other_than=first.pid)
        begun_after.append(time.monotonic() - struck)
        heir = answer_of(second, second_answer)
        if freeze:
            os.kill(first.pid, signal.SIGCONT)
        end = answer_of(first, first_answer)
        as_it_should = heir[0] == "built" and end[0] == ("lease-lost" if freeze else "dead")
        good += as_it_should
        if not as_it_should:
            print(f"  {name}: the first {end}, the second {heir}")
    if rounds:
        within = sum(s <= 3 * team.heartbeat for s in begun_after)
        what = "SIGSTOP, taken over, SIGCONT: can't publish" if freeze else "SIGKILL within a build: built elsewhere"
        print(
            f"{what}: {good} of {rounds}; begun again within 3 heartbeats "
            f"of {team.heartbeat:g} s: {within} of {rounds}, "
            f"after {statistics.median(begun_after):.1f} s (median), {max(begun_after):.1f} s (longest)"
        )
        return good == within == rounds
    return True


def main() -> int:
    options = argparse.ArgumentParser()
    for name, default in (("processes", 64), ("rounds", 20), ("kills", 100), ("freezes", 20), ("seed", 5)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--heartbeat", type=float, default=5.0)
    given = options.parse_args()
    draw = random.Random(given.seed)
    server = create_engine(SERVER, isolation_level="AUTOCOMMIT")
    name = f"trtreg_bench_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(SERVER).set(database=name).render_as_string(hide_password=False)
    _context.set_forkserver_preload(
        ["trtreg.wiring.wiring", "trtreg.catalog.sql", "trtreg.catalog.leases", "small_models"]
    )
    print(machine.described())
    try:
        migration.upgrade(url)
        with tempfile.TemporaryDirectory() as folder:
            team = Team(Path(folder), url, given.heartbeat)
            passed = [
                all_at_once(team, given.processes, given.rounds),
                disturbed(team, given.kills, freeze=False, draw=draw),
                disturbed(team, given.freezes, freeze=True, draw=draw),
            ]
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
