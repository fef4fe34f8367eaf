"""What a fail-over of PostgreSQL does to builds, tried: two servers with streaming replication, the first one killed.

    python benchmarks/failover.py [FOLDER_OF_POSTGRESQL'S_PROGRAMS]

held   a lease that the standby knows; then the first server dies and the standby is promoted: is it still held?
lost   a lease that the standby was never told of (asynchronous replication, cut before): who may publish afterwards?
get    `trtreg get` builds while that happens: what becomes of it?

Run by root, the servers are user postgres's. Exit 1 unless all went as docs/postgresql.md says.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
from sqlalchemy import create_engine, text

from trtreg.catalog import migration
from trtreg.catalog.leases import SqlLeases
from trtreg.core.lease import Lease, Owner, Pulse
from trtreg.errors import LeaseLost, Unreachable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from small_models import write_classifier

PROGRAMS = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/lib/postgresql/15/bin")
_USER = "postgres"


class Pair:
    """A server and its standby, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ports = folder, (_free_port(), _free_port())
        hosts = "&".join(f"host=127.0.0.1:{port}" for port in self.ports)
        self.url = f"postgresql+psycopg://{_USER}@/{_USER}?{hosts}&target_session_attrs=read-write&connect_timeout=2"
        self._run("initdb", "--auth=trust", f"--username={_USER}", "--no-sync", "-D", self._data(0))
        self._start(0)
        self._run("pg_basebackup", "-R", "-h", "127.0.0.1", "-p", str(self.ports[0]), "-U", _USER, "-D", self._data(1))
        self._start(1)

    def cut(self) -> None:
        """Let the standby be told no more."""
        engine = create_engine(self._at(1), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("ALTER SYSTEM SET primary_conninfo = ''"))
            connection.execute(text("SELECT pg_reload_conf()"))
        engine.dispose()
        while self._ask(1, "SELECT count(*) FROM pg_stat_wal_receiver") != "0":
            time.sleep(0.05)

    def until_told(self) -> None:
        """Wait until the standby knows all."""
        here = self._ask(0, "SELECT pg_current_wal_lsn()")
        while self._ask(1, f"SELECT pg_last_wal_replay_lsn() >= '{here}'") != "True":
            time.sleep(0.05)

    def fail_over(self) -> None:
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", self._data(0))
        self._run("pg_ctl", "promote", "-w", "-D", self._data(1))

    def end(self) -> None:
        for number in range(2):
            self._run("pg_ctl", "stop", "-m", "immediate", "-D", self._data(number), check=False)

    def _data(self, number: int) -> str:
        return str(self.folder / f"data{number}")

    def _start(self, number: int) -> None:
        options = f"-p {self.ports[number]} -k {self.folder} -c listen_addresses=127.0.0.1"
        log = str(self.folder / f"log{number}")
        self._run("pg_ctl", "start", "-w", "-D", self._data(number), "-l", log, "-o", options)

    def _at(self, number: int) -> str:
        return f"postgresql+psycopg://{_USER}@127.0.0.1:{self.ports[number]}/{_USER}"

    def _ask(self, number: int, question: str) -> str:
        engine = create_engine(self._at(number))
        try:
            with engine.connect() as connection:
                return str(connection.scalar(text(question)))
        finally:
            engine.dispose()

    def _run(self, program: str, *words: str, check: bool = True) -> None:
        as_them = ["runuser", "-u", _USER, "--"] if os.geteuid() == 0 else []
        subprocess.run([*as_them, PROGRAMS / program, *words], check=check, stdout=subprocess.DEVNULL, cwd=self.folder)


def _free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        return int(asking.getsockname()[1])


def _pulse(leases: SqlLeases, lease: Lease) -> tuple[Pulse, float]:
    """The next sign of life that is heard, and after how many seconds."""
    started = time.monotonic()
    while True:
        try:
            return leases.renew(lease, seconds=30), time.monotonic() - started
        except Unreachable:
            time.sleep(0.1)


def held(pair: Pair) -> bool:
    leases = SqlLeases(pair.url)
    mine = leases.claim("key held", Owner(host="a", process=1, nonce="n"), seconds=30)
    assert isinstance(mine, Lease)
    pair.until_told()
    pair.fail_over()
    pulse, seconds = _pulse(leases, mine)
    print(f"held: {pulse.name}, heard {seconds:.1f} s after the standby was promoted")
    return pulse is Pulse.HELD


def lost(pair: Pair) -> bool:
    leases = SqlLeases(pair.url)
    pair.cut()
    first = leases.claim("key lost", Owner(host="a", process=1, nonce="n"), seconds=30)
    assert isinstance(first, Lease)
    pair.fail_over()
    pulse, _ = _pulse(leases, first)
    second = leases.claim("key lost", Owner(host="b", process=2, nonce="n"), seconds=30)
    try:
        leases.require(first)
        fenced = False
    except LeaseLost:
        fenced = True
    taken = isinstance(second, Lease)
    print(f"lost: the first builder is {pulse.name}, another {'begins' if taken else 'waits'}, fenced: {fenced}")
    return pulse is Pulse.LOST and taken and fenced


def get(pair: Pair) -> bool:
    flags = ["--home", str(pair.folder / "home"), "--catalog", pair.url]
    command = [sys.executable, "-m", "trtreg_cli.main", *flags]
    model = write_classifier(pair.folder / "tiny.onnx")
    subprocess.run([*command, "model", "add", "tiny", str(model)], check=True, stdout=subprocess.DEVNULL)
    leases, environment = SqlLeases(pair.url), {**os.environ, "TRTREG_HEARTBEAT": "1"}
    building = subprocess.Popen(
        [*command, "get", "tiny"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not leases.live():
        assert building.poll() is None, building.communicate()
    pair.until_told()
    pair.fail_over()
    out, err = building.communicate(timeout=120)
    print(f"get: exit {building.returncode}, {out.strip() or err.strip()}")
    again = subprocess.run([*command, "ls", "--json"], capture_output=True, text=True, check=False)
    print(f"get: listed afterwards: {again.stdout.count('published')}")
    return building.returncode == 0 and "published" in again.stdout


def main() -> int:
    print(machine.described(("trtreg", "sqlalchemy", "psycopg")))
    passed = []
    for trial in (held, lost, get):
        folder = Path(tempfile.mkdtemp(prefix="trtreg-failover-", dir="/tmp"))
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(_USER).pw_uid, -1)
        pair = Pair(folder)
        try:
            migration.upgrade(pair.url)
            passed.append(trial(pair))
        finally:
            pair.end()
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
