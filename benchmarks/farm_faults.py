"""The farm under faults, and its pace: servers of its own, workers as processes with caches of their own.

    python benchmarks/farm_faults.py kills   [--count 100] [--at-once 10]
    python benchmarks/farm_faults.py freezes [--count 20] [--at-once 5]
    python benchmarks/farm_faults.py outages [--count 200] [--workers 4] [--cut 30]
    python benchmarks/farm_faults.py pace    [--count 50]
    python benchmarks/farm_faults.py drain   [--count 1000] [--workers 2] [--folder FOLDER] [--seconds 280]

kills    workers get SIGKILL somewhere in a build: when another one begins it again, and what is published
freezes  they get SIGSTOP, and SIGCONT once another has published: what becomes of their builds
outages  the broker and the database crash and come back, the network to each is cut: what becomes of the builds
pace     an idle farm is asked for one build after another: how long until a worker begins
drain    all are asked for at once: seconds for each build at the beginning and at the end. It stops after so many
         seconds, and goes on in the same folder when it is called again

Each asks for one small network in shapes that nobody has built. Exit 1 unless all went as it should.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import multiprocessing
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import machine
from sqlalchemy import create_engine, select

from trtreg.catalog import migration, tables
from trtreg.catalog.builds import SqlBuilds
from trtreg.catalog.leases import SqlLeases
from trtreg.core.build import BuildRecord, BuildState
from trtreg.core.key import Key
from trtreg.core.lease import Holder, key_subject
from trtreg.core.names import parse_model_name
from trtreg.core.recipe import parse_shape
from trtreg.core.request import Request
from trtreg.jobs.farming import Farm
from trtreg.making.flight import despite_outage
from trtreg.wiring import wiring
from trtreg.wiring.workplace import open_farm, run_worker

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from services.proxy import Proxy
from services.servers import OwnPostgres, OwnRabbit, until
from small_models import write_classifier

WAIT = 300.0
_context = multiprocessing.get_context("forkserver")


@dataclass
class Ground:
    """A farm's shared places, and its workers by process number."""

    folder: Path
    catalog: str
    broker: str
    heartbeat: float
    workers: dict[int, BaseProcess] = field(default_factory=dict)
    named: Iterator[int] = field(default_factory=itertools.count)

    def settings(self, cache: str) -> wiring.Settings:
        os.environ |= {"TRTREG_HEARTBEAT": str(self.heartbeat), "TRTREG_BROKER": self.broker}
        flags = {"home": str(self.folder / "home"), "catalog": self.catalog, "cache": str(self.folder / cache)}
        return wiring.settings(flags)

    def add_model(self) -> None:
        registry = wiring.open_registry(settings=self.settings("asker"))
        path = write_classifier(self.folder / "small.onnx", fixed=False)
        registry.models.add("small", path, samples={}, tags={}, tolerance={}, progress=registry.progress)

    def open_farm(self) -> Farm:
        return open_farm(self.settings("asker"))

    def hire(self, count: int) -> None:
        """So many workers more; returns once they are ready."""
        logs = []
        for _ in range(count):
            name = f"worker{next(self.named)}"
            logs.append(self.folder / f"{name}.log")
            ground = Ground(self.folder, self.catalog, self.broker, self.heartbeat)
            process = _context.Process(target=serve, args=(ground, name))
            process.start()
            assert process.pid
            self.workers[process.pid] = process
            (self.folder / f"{process.pid}.log").symlink_to(logs[-1])
        for log in logs:
            until(lambda log=log: log.exists() and " ready." in log.read_text(), WAIT, f"{log} says ready")

    def said(self, worker: int) -> str:
        return (self.folder / f"{worker}.log").read_text()

    def dismiss(self, how: signal.Signals = signal.SIGKILL) -> None:
        for number, process in self.workers.items():
            if process.is_alive():
                os.kill(number, how)
        for process in self.workers.values():
            process.join()
        self.workers.clear()


def serve(ground: Ground, name: str) -> None:
    """A worker, in a process of its own."""
    with (ground.folder / f"{name}.log").open("ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.exit(run_worker(ground.settings(name), targets=["x86_64"], log_level="INFO"))


def requests(seed: int) -> Iterator[Request]:
    """Requests that differ in a shape, and hardly in their cost."""
    shapes = list(itertools.product(range(1, 11), range(8, 20), range(8, 20)))
    random.Random(seed).shuffle(shapes)
    for batch, height, width in shapes:
        shape = parse_shape(f"images={batch}x3x{height}x{width}")
        yield Request(model=parse_model_name("small"), backend="onnxruntime", shapes=(shape,))


class Asker:
    """Asks for one new build after another."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self.farm = ground.open_farm()
        self._registry = wiring.open_registry(settings=ground.settings("asker"))
        self._requests = requests(seed)

    def want(self) -> BuildRecord:
        asked = self._registry.pose(next(self._requests))
        return despite_outage(lambda: self.farm.want(asked))


# --- what is to be seen ------------------------------------------------------------------------------------


def published(catalog: str) -> Counter[str]:
    """How many published plans each key has."""
    engine = create_engine(catalog)
    with engine.connect() as connection:
        keys = connection.scalars(select(tables.engines.c.key).where(tables.engines.c.state == "published")).all()
    engine.dispose()
    return Counter(keys)


def times(catalog: str) -> list[tuple[float, float, float]]:
    """When each build was asked for, begun and ended, in the order of their ends."""
    columns = tables.builds.c
    query = select(columns.asked_at, columns.begun_at, columns.ended_at).where(columns.state == "done")
    engine = create_engine(catalog)
    with engine.connect() as connection:
        rows = [(r.asked_at, r.begun_at, r.ended_at) for r in connection.execute(query.order_by(columns.ended_at))]
    engine.dispose()
    return rows


def described(seconds: list[float], unit: str = "s", scale: float = 1.0) -> str:
    if not seconds:
        return "nothing measured"
    scaled = sorted(scale * s for s in seconds)
    tenth = scaled[min(len(scaled) - 1, int(0.9 * len(scaled)))]
    return f"{statistics.median(scaled):.3g} {unit} (median), {tenth:.3g} (nine of ten), {scaled[-1]:.3g} (longest)"


# --- workers that die and freeze ---------------------------------------------------------------------------


@dataclass
class Strike:
    """What befalls one build's first worker, and what follows. Times are of this process's monotonic clock."""

    record: BuildRecord
    victim: int = 0
    due: float = 0.0
    phase: str = ""
    struck: float = 0.0
    heir: Holder | None = None
    again: float = 0.0
    end: BuildRecord | None = None

    def look(self, holder: Holder | None, delay: float) -> None:
        """The first holder is going to be struck after `delay`; the next one has begun again."""
        now = time.monotonic()
        if holder is None:
            return
        if not self.victim:
            self.victim, self.due = holder.owner.process, now - holder.elapsed + delay
        elif self.struck and self.heir is None and holder.owner.process != self.victim:
            self.heir, self.again = holder, now - holder.elapsed - self.struck
        if not self.struck:
            self.phase = holder.phase


def strike_all(ground: Ground, asker: Asker, how: signal.Signals, at_once: int, draw: random.Random) -> list[Strike]:
    """Ask for so many builds, strike each one's worker within it, and wait until all have ended."""
    leases, builds = SqlLeases(ground.catalog), SqlBuilds(ground.catalog)
    strikes = [Strike(asker.want()) for _ in range(at_once)]
    deadline = time.monotonic() + WAIT
    while any(s.end is None for s in strikes):
        if time.monotonic() > deadline:
            raise SystemExit(f"these never end: {[s.record.id for s in strikes if s.end is None]}")
        live = {holder.subject: holder for holder in leases.live()}
        for s in strikes:
            if s.end is None:
                s.look(live.get(key_subject(Key(s.record.key))), draw.uniform(0.0, 1.0))
                if s.victim and not s.struck and time.monotonic() >= s.due:
                    os.kill(s.victim, how)
                    s.struck = time.monotonic()
        if all(s.struck for s in strikes):
            for s in strikes:
                record = builds.build(s.record.id)
                s.end = record if record and record.state.is_end else None
        time.sleep(0.01)
    return strikes


def disturb(ground: Ground, given: argparse.Namespace, *, freeze: bool) -> bool:
    how, asker, draw = (
        (signal.SIGSTOP if freeze else signal.SIGKILL),
        Asker(ground, given.seed),
        random.Random(given.seed),
    )
    seen: list[Strike] = []
    early = bad = fenced = 0
    while len(seen) < given.count:
        wanted = min(given.at_once, given.count - len(seen))
        ground.hire(2 * wanted - len(ground.workers))
        strikes = strike_all(ground, asker, how, wanted, draw)
        for s in strikes:
            assert s.end
            if freeze:
                os.kill(s.victim, signal.SIGCONT)
            else:
                ground.workers.pop(s.victim).join()
            if s.heir is None and s.end.attempts == 1 and s.end.state is BuildState.DONE:
                early += 1  # It had published when it was struck.
                continue
            seen.append(s)
            if s.heir is None or s.end.state is not BuildState.DONE or published(ground.catalog)[s.record.key] != 1:
                bad += 1
                print(f"  {s.record.id}: {s.end.state} after {s.end.attempts} attempts, {s.end.message}")
            if freeze:
                words = f"lease of {key_subject(Key(s.record.key))[:16]} was lost"
                try:
                    until(lambda s=s, words=words: words in ground.said(s.victim), 60, f"{s.victim} says so")
                    fenced += 1
                except TimeoutError as error:
                    print(f"  {s.record.id}: {error}")
        print(f"  {len(seen)} of {given.count}", file=sys.stderr)
    doubled = [key for key, count in published(ground.catalog).items() if count != 1]
    within = sum(s.again <= 3 * ground.heartbeat for s in seen)
    what = "SIGSTOP within a build" if freeze else "SIGKILL within a build"
    print(
        f"{what}, {given.at_once} at a time: {len(seen) - bad} of {len(seen)} built elsewhere and published once; "
        f"begun again within 3 heartbeats of {ground.heartbeat:g} s: {within} of {len(seen)}, "
        f"after {described([s.again for s in seen])}; struck in {dict(Counter(s.phase or 'begin' for s in seen))}; "
        f"{early} had ended before and don't count"
    )
    if freeze:
        print(f"SIGCONT after another has published: {fenced} of {len(seen)} were told that the lease was lost")
    return bad == 0 and not doubled and within == len(seen) and (not freeze or fenced == len(seen))


# --- servers that go away ----------------------------------------------------------------------------------


def outages(
    ground: Ground, given: argparse.Namespace, database: OwnPostgres, broker: OwnRabbit, proxies: dict[str, Proxy]
) -> bool:
    asker, builds = Asker(ground, given.seed), SqlBuilds(database.url())
    ground.hire(given.workers)
    direct = Ground(ground.folder, database.url(), broker.url(), ground.heartbeat)

    def ended() -> int:
        return sum(r.state.is_end for r in builds.builds())

    def crash(server: OwnPostgres | OwnRabbit, how: signal.Signals) -> None:
        server.stop(how)
        time.sleep(2.0)
        server.start()

    def cut(proxy: Proxy) -> None:
        proxy.passes.clear()
        time.sleep(given.cut)
        proxy.passes.set()

    events: list[tuple[str, Callable[[], None]]] = [
        ("the broker is killed and started again", lambda: crash(broker, signal.SIGKILL)),
        ("the database crashes and is started again", lambda: crash(database, signal.SIGQUIT)),
        (f"the network to the database is cut for {given.cut:g} s", lambda: cut(proxies["database"])),
        (f"the network to the broker is cut for {given.cut:g} s", lambda: cut(proxies["broker"])),
    ]
    began = time.monotonic()
    records = [asker.want() for _ in range(given.count)]
    with ThreadPoolExecutor(16) as pool:
        ends = [pool.submit(asker.farm.follow, record.id) for record in records]
        for number, (what, event) in enumerate(events):
            share = given.count * (2 * number + 1) // (2 * len(events) + 1)
            until(lambda share=share: ended() >= share, WAIT, f"{share} ends")
            at = ended()
            event()
            print(f"  after {at} builds {what}; {ended()} when it was back")
        followed = [_outcome(end.result) for end in ends]
    seconds = time.monotonic() - began
    rows, keys = SqlBuilds(direct.catalog).builds(), published(direct.catalog)
    states = Counter(str(r.state) for r in rows)
    lost = [r.id for r in records if not keys[r.key]]
    doubled = [key for key, count in keys.items() if count != 1]
    print(
        f"{given.count} builds, {given.workers} workers, {seconds:.0f} s: {dict(states)}; {len(lost)} lost, "
        f"{len(doubled)} published twice; begun {dict(Counter(r.attempts for r in rows))} times; "
        f"their followers saw {dict(Counter(followed))}"
    )
    for r in rows:
        if r.state is not BuildState.DONE:
            print(f"  {r.id}: {r.state}: {r.message}")
    return states == {"done": given.count} and not lost and not doubled and set(followed) == {"done"}


def _outcome(follow: Callable[[], BuildRecord]) -> str:
    try:
        return str(follow().state)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return f"{type(error).__name__}: {error}"


# --- pace --------------------------------------------------------------------------------------------------


def pace(ground: Ground, given: argparse.Namespace) -> bool:
    asker = Asker(ground, given.seed)
    ground.hire(1)
    for _ in range(given.count + 1):
        asker.farm.follow(asker.want().id)
        time.sleep(0.25)
    # The first one imports what a worker needs.
    waits = [begun - asked for asked, begun, _ in times(ground.catalog)][1:]
    print(f"an idle farm, {len(waits)} builds: from the row to a worker's begin {described(waits, 'ms', 1000.0)}")
    return len(waits) == given.count and statistics.median(waits) < 0.1


def drain(ground: Ground, given: argparse.Namespace) -> bool:
    builds, asker, began = SqlBuilds(ground.catalog), Asker(ground, given.seed), time.monotonic()
    if not builds.builds(limit=1):
        for _ in range(given.count):
            asker.want()
        print(f"{given.count} asked for in {time.monotonic() - began:.1f} s")
    ground.hire(given.workers)
    while (left := len(builds.builds(live=True))) and time.monotonic() - began < given.seconds:
        time.sleep(1.0)
    ground.dismiss(signal.SIGTERM)
    left = len(builds.builds(live=True))
    if left:
        print(f"{left} are left; call it again")
        return True
    ends = [ended for *_, ended in times(ground.catalog)]
    # Where the workers were stopped in between nothing ended: the median step doesn't see it.
    steps = [after - before for before, after in itertools.pairwise(ends)]
    tenth = max(1, len(steps) // 10)
    took = [ended - begun for _, begun, ended in times(ground.catalog)]
    first, last = statistics.median(took[:tenth]), statistics.median(took[-tenth:])
    step = statistics.median(steps[:tenth]), statistics.median(steps[-tenth:])
    print(
        f"{len(ends)} builds, {given.workers} workers: a build takes {first:.3f} s in the first tenth, {last:.3f} s in "
        f"the last: {last / first:.2f} times; one ends every {step[0]:.3f} s, and {step[1]:.3f} s: "
        f"{step[1] / step[0]:.2f} times"
    )
    doubled = [key for key, count in published(ground.catalog).items() if count != 1]
    return len(ends) == given.count and not doubled and step[1] < 1.25 * step[0]


# --- the run -----------------------------------------------------------------------------------------------


@contextmanager
def servers(folder: Path) -> Iterator[tuple[OwnPostgres, OwnRabbit]]:
    database, broker = OwnPostgres(folder / "postgres"), OwnRabbit(folder / "rabbitmq")
    try:
        database.start()
        broker.start()
        yield database, broker
    finally:
        broker.stop(signal.SIGKILL)
        database.stop(signal.SIGINT)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("kills", "freezes", "outages", "pace", "drain"))
    for name in ("count", "at-once", "workers"):
        options.add_argument(f"--{name}", type=int)
    for name, default in (("heartbeat", 5.0), ("cut", 30.0), ("seconds", 280.0)):
        options.add_argument(f"--{name}", type=float, default=default)
    options.add_argument("--seed", type=int, default=5)
    options.add_argument("--folder", type=Path)
    given = options.parse_args()
    usual = {"kills": (100, 10, 0), "freezes": (20, 5, 0), "outages": (200, 0, 4), "pace": (50, 0, 1)}
    count, at_once, workers = usual.get(given.what, (1000, 0, 2))
    given.count, given.at_once = given.count or count, given.at_once or at_once
    given.workers = given.workers or workers
    _context.set_forkserver_preload(
        ["trtreg.wiring.workplace", "trtreg.farm.worker", "trtreg.catalog.sql", "small_models"]
    )
    print(machine.described(("trtreg", "onnxruntime", "celery", "psycopg")))
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database, broker = stack.enter_context(servers(folder))
        proxies = {
            name: Proxy(f"tcp://127.0.0.1:{s.port}", lambda _: None)
            for name, s in (("database", database), ("broker", broker))
        }
        through = proxies if given.what == "outages" else {}
        ground = Ground(
            folder,
            database.url(through["database"].port if through else 0),
            broker.url(through["broker"].port if through else 0),
            given.heartbeat,
        )
        stack.callback(ground.dismiss)
        if not (folder / "home").exists():
            migration.upgrade(ground.catalog)
            ground.add_model()
        run = {
            "kills": functools.partial(disturb, freeze=False),
            "freezes": functools.partial(disturb, freeze=True),
            "outages": functools.partial(outages, database=database, broker=broker, proxies=proxies),
            "pace": pace,
            "drain": drain,
        }[given.what]
        passed = run(ground, given)
        print(f"{given.what}: {'as it should be' if passed else 'NOT as it should be'} (seed {given.seed})")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
