"""What a catalog of a large team answers in: every question that it is asked, with p50 and p99, and how it is planned.

    python benchmarks/catalog_scale.py fill postgres|sqlite [--engines 1000000] [--models 10000]    prints the URL
    python benchmarks/catalog_scale.py ask URL [--times 300]
    python benchmarks/catalog_scale.py drop URL

The server is TRTREG_TEST_POSTGRES; `fill` makes a database of its own there, or a file. Every engine's manifest is
that of a real build, with another model, recipe or target. Leases and builds are those of a farm that made all of them.
`ask` ends with 1 if a lookup's p99 is 5 ms or more, or if PostgreSQL answers a lookup by reading a whole table.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import machine
from sqlalchemy import Connection, create_engine, event, insert, make_url, text
from sqlalchemy.engine import Engine

import trtreg
from trtreg.catalog import migration
from trtreg.catalog.builds import SqlBuilds
from trtreg.catalog.leases import SqlLeases
from trtreg.catalog.rows import engine_columns
from trtreg.catalog.sql import SqlCatalog
from trtreg.catalog.tables import aliases, builds, engines, failures, leases, models, samples, versions
from trtreg.catalog.url import sqlite_path
from trtreg.core.build import BuildState, Wish
from trtreg.core.files import StoredFile, file_set
from trtreg.core.key import Key, Question
from trtreg.core.lease import Lease, Owner, key_subject
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest, read_manifest
from trtreg.core.model import ModelFacts
from trtreg.core.recipe import Precision
from trtreg.core.records import to_json

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from small_models import write_classifier

SERVER = os.environ.get("TRTREG_TEST_POSTGRES", "postgresql+psycopg://127.0.0.1:5432/test")
MOST_MS = 5.0
_LIVE = 200
_COLUMNS = [c.name for c in engines.columns if c.name != "id"]
_GPUS = [("sm_75", "t4"), ("sm_80", "a100"), ("sm_86", "a10"), ("sm_89", "l4"), ("sm_90", "h100")]
_VERSIONS = ("10.9.0.34", "10.11.0.33", "10.13.3.9", "11.0.0.5", "11.1.0.2")


def sha256(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()


# --- filling -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    engines: int
    models: int

    @property
    def variants(self) -> int:
        return self.engines // self.models


def real_build() -> tuple[ModelFacts, Manifest]:
    """A model and its engine, made here."""
    with tempfile.TemporaryDirectory() as folder:
        registry = trtreg.open_registry(home=folder)
        path = write_classifier(Path(folder) / "tiny.onnx")
        version, _ = registry.models.add("tiny", path, samples={}, tags={}, tolerance={}, progress=registry.progress)
        return version.facts, read_manifest(registry.get("tiny", precision="fp16").manifest_json)


def variants(one: Manifest, number: int) -> list[tuple[dict[str, Any], Manifest]]:
    """Engines that a model has: rows in which its digest, the key and the plan are to be put."""
    found = []
    for i in range(number):
        (architecture, device), version = _GPUS[i % 5], _VERSIONS[i // 5 % 5]
        recipe = replace(
            one.recipe, precision=(Precision.FP16, Precision.BF16)[i // 25 % 2], keep_fp32=(f"/model.{i // 50}/*",)
        )
        target = replace(one.target, runtime="tensorrt", runtime_version=version, architecture=architecture)
        target = replace(target, device=f"NVIDIA {device.upper()}", layout="")
        made = replace(one, recipe=recipe, target=target, key=Key("KEY"), model_digest="MODEL")
        found.append((engine_columns(made), made))
    return found


def state_of(number: int) -> tuple[EngineState, bool]:
    if number % 50 == 7:
        return EngineState.REJECTED, False
    if number % 200 == 11:
        return EngineState.UNPROVEN, False
    return EngineState.PUBLISHED, True


def engine_rows(one: Manifest, size: Size, numbers: range) -> Iterator[tuple[Any, ...]]:
    kinds, plan = variants(one, size.variants), one.plan
    for model in numbers:
        digest = sha256(f"model {model}")
        for i, (columns, made) in enumerate(kinds):
            key = Question(digest, made.recipe, made.target).key
            bytes_of_it = file_set(
                [StoredFile(f.name, f.size, sha256(f"{key} {f.name}")) for f in plan.files], plan.entry
            )
            manifest = str(columns["manifest"]).replace('"KEY"', f'"{key}"').replace('"MODEL"', f'"{digest}"')
            manifest = manifest.replace(plan.digest, bytes_of_it.digest).replace("tiny@1", f"model{model:05}@1")
            for old, new in zip(plan.files, bytes_of_it.files, strict=True):
                manifest = manifest.replace(old.sha256, new.sha256)
            state, blessed = state_of(model * size.variants + i)
            own = {"key": key, "plan_digest": bytes_of_it.digest, "model_digest": digest, "manifest": manifest}
            own |= {"state": state.value, "blessed": blessed, "created_at": "2026-01-01 12:00:00.000000+00:00"}
            row = {**columns, **own}
            yield tuple(row[name] for name in _COLUMNS)


def copy_engines(url: str, one: Manifest, size: Size, numbers: range) -> None:
    """In a process of its own."""
    engine = create_engine(url)
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        with raw.cursor() as cursor, cursor.copy(f"COPY engines ({', '.join(_COLUMNS)}) FROM STDIN") as copy:
            for row in engine_rows(one, size, numbers):
                copy.write_row(row)
        raw.commit()
    engine.dispose()


def fill_models(connection: Connection, facts: ModelFacts, size: Size) -> None:
    now = _midnight()
    for first in range(0, size.models, 1000):
        several = range(first, min(first + 1000, size.models))
        rows = [
            {"id": i + 1, "name": f"model{i:05}", "last_version": 2, "tolerance": "{}", "revision": 2} for i in several
        ]
        connection.execute(insert(models), rows)
        contents = [
            (i, number, sha256(f"model {i}" if number == 1 else f"newer {i}")) for i in several for number in (1, 2)
        ]
        written = [
            {
                "id": 2 * i + number,
                "model_id": i + 1,
                "version": number,
                "digest": digest,
                "facts": to_json(replace(facts, digest=digest)),
                "note": "",
                "tags": "{}",
                "added_at": now,
            }
            for i, number, digest in contents
        ]
        connection.execute(insert(versions), written)
        sample = {"name": "coco8", "file_name": "coco8.npz", "size": 9_830_400, "sha256": sha256("coco8")}
        connection.execute(insert(samples), [{**sample, "version_id": 2 * i + 1} for i in several])
        connection.execute(insert(aliases), [{"model_id": i + 1, "alias": "prod", "version": 1} for i in several])
    for name in ("models", "versions"):
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"))


def fill_farm(connection: Connection, one: Manifest, size: Size) -> None:
    """A lease and a build for every engine; some of them live."""
    kinds, now, done = variants(one, size.variants), time.time(), 0
    queue = "trtreg.tensorrt-10.13.3.9.sm_89.nvidia-l4"
    for first in range(0, size.models, 100):
        leased, built = [], []
        for model in range(first, min(first + 100, size.models)):
            for _, made in kinds:
                key, live = Question(sha256(f"model {model}"), made.recipe, made.target).key, done < 2 * _LIVE
                running, asked = done < _LIVE, now - (size.engines - done)
                row = {"subject": key_subject(key), "owner": "host 1 n", "place": "", "token": 1, "phase": "build"}
                leased.append(
                    {**row, "taken_at": asked, "cancelled": False, "expires_at": now + 86400 if running else asked}
                )
                state = BuildState.RUNNING if running else BuildState.WANTED if live else BuildState.DONE
                words = dict.fromkeys(("phase", "kind", "message", "hint"), "")
                times = {
                    "asked_at": asked,
                    "sent_at": now if live else asked,
                    "begun_at": asked,
                    "ended_at": asked + 60,
                }
                name = {
                    "id": sha256(f"build {done}")[:12],
                    "key": key,
                    "model": f"model{model:05}@1 (fp16)",
                    "queue": queue,
                }
                more = {"request": "{}" * 100, "priority": 4, "retry": False, "worker": "1@host", "log": "line\n" * 40}
                built.append({**name, **more, **words, **times, "state": state.value, "attempts": 1})
                done += 1
        told = {"kind": "build-failed", "message": "no such operator", "hint": "", "host": "h", "allowed": 0.0}
        failed = [{**told, "subject": row["subject"], "failed_at": now, "expires_at": now} for row in leased[::50]]
        connection.execute(insert(failures), failed)
        connection.execute(insert(leases), leased)
        connection.execute(insert(builds), built)


def _midnight() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 1, 1, tzinfo=UTC)


def fill(kind: str, size: Size) -> str:
    facts, one = real_build()
    started = time.perf_counter()
    if kind == "postgres":
        name = f"trtreg_bench_{uuid.uuid4().hex[:12]}"
        server = create_engine(SERVER, isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit TO off"))
        url = make_url(SERVER).set(database=name).render_as_string(hide_password=False)
    else:
        url = f"sqlite:///{Path(tempfile.mkdtemp(prefix='trtreg-bench-', dir='/tmp')) / 'catalog.db'}"
    migration.upgrade(url)
    engine = create_engine(url)
    if kind == "postgres":
        shares = [range(i, size.models, 2) for i in range(2)]
        with ProcessPoolExecutor(2) as pool:
            list(pool.map(copy_engines, [url] * 2, [one] * 2, [size] * 2, shares))
    else:
        with closing(sqlite3.connect(sqlite_path(url) or "")) as raw:
            raw.execute("PRAGMA synchronous = OFF")
            places = ", ".join("?" * len(_COLUMNS))
            raw.executemany(
                f"INSERT INTO engines ({', '.join(_COLUMNS)}) VALUES ({places})",
                ((*row[:-1], row[-1].removesuffix("+00:00")) for row in engine_rows(one, size, range(size.models))),
            )
            raw.commit()
    with engine.begin() as connection:
        fill_models(connection, facts, size)
        fill_farm(connection, one, size)
    analyse = "VACUUM ANALYZE" if kind == "postgres" else "ANALYZE"
    with create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(analyse))
    print(
        f"{size.engines:,} engines of {size.models:,} models in {time.perf_counter() - started:.0f} s", file=sys.stderr
    )
    return url


# --- asking --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A question, and whether it is a lookup: asked while somebody waits for an engine."""

    name: str
    ask: Callable[[], object]
    is_lookup: bool = True
    whole: bool = False
    """Whether it is meant to read all of a table."""


def questions(url: str, size: Size, draw: random.Random) -> list[Asked]:
    catalog, its_leases, its_builds = SqlCatalog(url), SqlLeases(url), SqlBuilds(url)
    last = catalog.engines(limit=1)[0].number
    known = [catalog.engines(after=draw.randrange(2, last), limit=1)[0] for _ in range(200)]
    owner = Owner(host="bench", process=1, nonce="n")
    held = its_leases.claim(f"key {uuid.uuid4()}", owner, seconds=600)
    assert isinstance(held, Lease)

    def key() -> Key:
        return draw.choice(known).manifest.key

    def model() -> str:
        return sha256(f"model {draw.randrange(size.models)}")

    def name() -> str:
        return f"model{draw.randrange(size.models):05}"

    def build() -> str:
        return sha256(f"build {draw.randrange(size.engines)}")[:12]

    def want() -> None:
        made = its_builds.want(Wish(key=Key(sha256(str(draw.random()))), request="{}", model="m@1", queue="q"))[0]
        its_builds.end(made.id, BuildState.DONE)

    def claim() -> None:
        mine = its_leases.claim(f"key {sha256(str(draw.random()))}", owner, seconds=60)
        assert isinstance(mine, Lease)
        its_leases.release(mine)

    def record() -> None:
        one = draw.choice(known)
        catalog.record_engine(one.manifest, one.state, bless=one.blessed)

    def index() -> None:
        one = catalog.model(name())
        assert one is not None
        catalog.index_model(replace(one, revision=one.revision + 1))

    unproven, a_build = EngineState.UNPROVEN, sha256("build 7")[:12]
    return [
        *_lookups(
            ("engine by its key", lambda: catalog.engines(key_prefix=key())),
            ("engine by 12 digits of its key", lambda: catalog.engines(key_prefix=key()[:12], limit=1000)),
            ("model by name", lambda: catalog.model(name())),
            ("versions by content", lambda: catalog.versions(digest=model())),
        ),
        *_more(
            ("engines of a model, all of them", lambda: catalog.engines(model_digests=[model()])),
            ("ls: first 50", lambda: catalog.engines(limit=50)),
            ("ls: 50 from anywhere", lambda: catalog.engines(after=draw.randrange(last), limit=50)),
            ("ls --unproven: 50", lambda: catalog.engines(state=unproven, after=draw.randrange(last), limit=50)),
            ("ls MODEL: 50", lambda: catalog.engines(model_digests=[model()], limit=50)),
            ("model ls: 50 models", lambda: catalog.models(after=name(), limit=50)),
            ("record an engine that is there", record),
            ("list a model anew", index),
            # A connection each, on purpose: thousands may wait for one build.
            ("lease: look", lambda: its_leases.look(key_subject(key()))),
            ("lease: renew", lambda: its_leases.renew(held, seconds=600, phase="build")),
            ("lease: claim, release", claim),
            ("leases that are held", its_leases.live),
            ("build by its id", lambda: its_builds.build(build())),
            ("build by 6 digits", lambda: its_builds.builds(prefix=build()[:6], limit=100)),
            ("build: tell", lambda: its_builds.tell(a_build, phase="build", line="a line")),
            ("build: want, end", want),
            ("builds that are due: a worker's sweep", its_builds.due),
            ("builds ls --all: 50", lambda: its_builds.builds(after=build(), limit=50)),
            ("builds ls: 50", lambda: its_builds.builds(live=True, limit=50)),
        ),
        Asked("revisions of all models", catalog.revisions, is_lookup=False, whole=True),
    ]


def _lookups(*those: tuple[str, Callable[[], object]]) -> list[Asked]:
    return [Asked(name, ask) for name, ask in those]


def _more(*those: tuple[str, Callable[[], object]]) -> list[Asked]:
    return [Asked(name, ask, is_lookup=False) for name, ask in those]


def ask(url: str, times: int) -> int:
    draw, failed = random.Random(7), False
    engine = create_engine(url)
    with engine.connect() as connection:
        size = Size(*(int(connection.scalar(text(f"SELECT count(*) FROM {t}")) or 0) for t in ("engines", "models")))
        version = "SELECT version()" if engine.dialect.name == "postgresql" else "SELECT 'SQLite ' || sqlite_version()"
        server = str(connection.scalar(text(version))).partition(" (")[0]
    print(machine.described(("trtreg", "sqlalchemy", "psycopg")))
    print(f"{server}: {size.engines:,} engines, {size.models:,} models, {times} of each")
    print(f"{'':40} {'p50 ms':>8} {'p99 ms':>8}")
    for asked in questions(url, size, draw):
        scans = whole_tables_read(engine, asked.ask) if engine.dialect.name == "postgresql" else []
        for _ in range(10):
            asked.ask()
        took = sorted(_seconds(asked.ask) for _ in range(times))
        p50, p99 = (1e3 * took[int(share * (times - 1))] for share in (0.5, 0.99))
        is_late = asked.is_lookup and p99 >= MOST_MS
        is_bad = is_late or bool(scans and not asked.whole)
        failed |= is_bad
        words = ["lookup"] * asked.is_lookup + scans + ["!"] * is_bad
        print(f"{asked.name:40} {p50:8.2f} {p99:8.2f}  {' '.join(words)}")
    return int(failed)


def _seconds(what: Callable[[], object]) -> float:
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def whole_tables_read(engine: Engine, what: Callable[[], object]) -> list[str]:
    """The large tables that PostgreSQL reads wholly in order to answer, by its own plans."""
    told: list[tuple[str, Any]] = []

    def listen(_: object, __: object, statement: str, parameters: Any, ___: object, ____: object) -> None:
        told.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        what()
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    found = set()
    with engine.connect() as connection:
        for statement, parameters in told:
            if statement.split()[0] not in ("SELECT", "UPDATE", "INSERT", "DELETE") or "pg_catalog" in statement:
                continue
            (plan,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalars()
            found |= set(_scans(plan[0]["Plan"]))
            connection.rollback()
    return sorted(found)


def _scans(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan" and node["Relation Name"] not in ("alembic_version", "compatibility"):
        yield f"reads all of {node['Relation Name']}"
    for part in node.get("Plans", ()):
        yield from _scans(part)


def drop(url: str) -> None:
    if path := sqlite_path(url):
        path.unlink()
        with suppress(OSError):
            path.parent.rmdir()
        return
    with create_engine(SERVER, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"DROP DATABASE {make_url(url).database} WITH (FORCE)"))


def main() -> int:
    options = argparse.ArgumentParser()
    commands = options.add_subparsers(dest="command", required=True)
    filling = commands.add_parser("fill")
    filling.add_argument("kind", choices=("postgres", "sqlite"))
    filling.add_argument("--engines", type=int, default=1_000_000)
    filling.add_argument("--models", type=int, default=10_000)
    asking = commands.add_parser("ask")
    asking.add_argument("url")
    asking.add_argument("--times", type=int, default=300)
    commands.add_parser("drop").add_argument("url")
    given = options.parse_args()
    if given.command == "fill":
        print(fill(given.kind, Size(given.engines, given.models)))
    elif given.command == "drop":
        drop(given.url)
    else:
        return ask(given.url, given.times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
