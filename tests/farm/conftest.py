"""A farm of each test's own: a database, a virtual host of RabbitMQ, a store, and workers as processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from databases import new_postgres_database
from registry.running import children_of
from small_models import write_classifier
from trtreg.catalog import migration
from trtreg.core.records import to_json
from trtreg.core.request import Request
from trtreg.wiring import wiring

COMMAND = [sys.executable, "-m", "trtreg_cli.main"]
_DOUBLE = [sys.executable, "-m", "farm.double"]
PATIENCE = 120.0
"""Seconds. Only a test that fails waits so long."""
_BROKER = ("127.0.0.1", 5672)


@contextmanager
def new_virtual_host() -> Iterator[str]:
    """The URL of an empty virtual host, which is removed at the end; the test is skipped where there is no RabbitMQ."""
    if shutil.which("rabbitmqctl") is None:
        pytest.skip("no rabbitmqctl here: apt-get install rabbitmq-server")
    try:
        socket.create_connection(_BROKER, timeout=3).close()
    except OSError as error:
        pytest.skip(f"no RabbitMQ at {_BROKER[0]}:{_BROKER[1]}: {error}; rabbitmq-server -detached starts it")
    name = f"trtreg_test_{uuid.uuid4().hex[:12]}"
    _control("add_vhost", name)
    try:
        _control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        yield f"amqp://guest:guest@{_BROKER[0]}:{_BROKER[1]}/{name}"
    finally:
        _control("delete_vhost", name)


def _control(*words: str) -> None:
    subprocess.run(["rabbitmqctl", "--quiet", *words], check=True, capture_output=True, timeout=60)


@dataclass
class Worker:
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    def until(self, words: str) -> None:
        until(lambda: words in self.said, lambda: f"never said {words!r}: {self.said}")

    def halt(self) -> int:
        """Its build process, which hangs from now on."""
        until(lambda: bool(children_of(self.process.pid)), lambda: self.said)
        child = children_of(self.process.pid)[0]
        os.kill(child, signal.SIGSTOP)
        return child

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=PATIENCE)


@dataclass
class Place:
    """A farm: its flags for the console command, and its workers."""

    folder: Path
    catalog: str
    broker: str
    workers: list[Worker] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "TRTREG_HOME": str(self.folder / "home"),
            "TRTREG_CATALOG": self.catalog,
            "TRTREG_BROKER": self.broker,
            "TRTREG_HEARTBEAT": "2",
        }

    def call(self, *arguments: str, cache: str = "asker") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "--cache", str(self.folder / cache), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )

    def settings(self, monkeypatch: pytest.MonkeyPatch) -> wiring.Settings:
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        return wiring.settings()

    def upgraded_worker(self, version: str) -> Worker:
        """A worker whose ONNX Runtime says, in each of its processes, that it is of that version."""
        folder = self.folder / "upgraded"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(f"import onnxruntime\nonnxruntime.__version__ = {version!r}\n")
        return self.worker(PYTHONPATH=os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))

    def worker(self, *arguments: str, **environment: str) -> Worker:
        """A worker that is ready, with a cache of its own."""
        return self._started([*COMMAND, "--cache"], "worker", *(arguments or ("--targets", "x86_64")), **environment)

    def double(self, *arguments: str, **environment: str) -> Worker:
        """The same on a machine that is a double: see `farm.double`."""
        return self._started(_DOUBLE, *arguments, **_finding_tests(environment))

    def asker(self, request: Request, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Someone on a machine that is a double."""
        return subprocess.run(
            [*_DOUBLE, str(self.folder / "asker"), *arguments],
            env={**self.environment, **_finding_tests(environment), "FARM_WISH": to_json(request)},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )

    def builds(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.call("builds", "ls", "--all", "--json").stdout)
        return found

    def _started(self, command: list[str], *arguments: str, **environment: str) -> Worker:
        name = f"worker{len(self.workers)}"
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, str(self.folder / name), *arguments],
                env={**self.environment, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        worker.until(" ready.")
        return worker


def _finding_tests(environment: dict[str, str]) -> dict[str, str]:
    path = str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join(filter(None, path)), **environment}


def until(holds: Callable[[], bool], complaint: Callable[[], str] = lambda: "it never came") -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.05)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A farm without workers that knows `tiny`."""
    with new_postgres_database() as url, new_virtual_host() as broker:
        migration.upgrade(url)
        place = Place(tmp_path, url, broker)
        added = place.call("model", "add", "tiny", str(write_classifier(tmp_path / "tiny.onnx")))
        assert added.returncode == 0, added.stderr
        try:
            yield place
        finally:
            for worker in place.workers:
                with suppress(ProcessLookupError):
                    os.killpg(worker.process.pid, signal.SIGKILL)
                worker.process.wait()
