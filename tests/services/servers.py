"""A PostgreSQL and a RabbitMQ of one's own, in a folder, for those who must restart them. Debian's packages suffice."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_PATIENCE = 90.0
_POSTGRES = Path("/usr/lib/postgresql")
_RABBITMQ = Path("/usr/lib/rabbitmq/bin")


class Server:
    """A server process that can be ended, in good order or not, and started again with what it had kept."""

    port: int

    def __init__(self) -> None:
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        self._process = self._started()
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{type(self).__name__} doesn't start: {self._words()}")
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)
            self._process.wait(timeout=_PATIENCE)

    def _started(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _words(self) -> str:
        raise NotImplementedError


class OwnPostgres(Server):
    """A cluster in `folder`, which trusts whoever is on this machine. PostgreSQL refuses to be run by root."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder, self._binaries = folder, max(_POSTGRES.glob("*/bin"), default=Path("/usr/bin"))
        if (folder / "data").exists():
            return
        folder.mkdir(parents=True)
        if os.getuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            # The way to it, which a temporary folder keeps to its owner.
            for parent in folder.parents:
                if parent.stat().st_mode & 0o001 == 0:
                    parent.chmod(parent.stat().st_mode | 0o011)
        command = [*_as("postgres"), str(self._binaries / "initdb"), "-D", str(folder / "data"), "-U", "trtreg"]
        subprocess.run([*command, "--auth=trust", "-E", "UTF8"], check=True, capture_output=True, cwd=folder)

    def url(self, port: int = 0) -> str:
        """Of its database; by way of another port, if one is given."""
        return f"postgresql+psycopg://trtreg@127.0.0.1:{port or self.port}/postgres"

    def _started(self) -> subprocess.Popen[bytes]:
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._folder), "-c", "max_connections=300"]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*_as("postgres"), str(self._binaries / "postgres"), "-D", str(self._folder / "data"), *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        asking = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asking, check=False).returncode == 0

    def _words(self) -> str:
        return (self._folder / "log").read_text()[-2000:]


class OwnRabbit(Server):
    """A node with its files in `folder`, and ports and a name of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "none.conf").touch()
        (folder / "plugins").write_text("[].\n")
        self._environment: Mapping[str, str] = {
            **os.environ,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"trtreg{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(_free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        }

    def url(self, port: int = 0) -> str:
        """Of its virtual host; by way of another port, if one is given."""
        return f"amqp://guest:guest@127.0.0.1:{port or self.port}//"

    def _started(self) -> subprocess.Popen[bytes]:
        with (self._folder / "said").open("ab") as log:
            return subprocess.Popen(
                [str(_RABBITMQ / "rabbitmq-server")],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        # A port that is open is no broker yet: it has to give its greeting's answer.
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(connection.recv(1))
        return False

    def _words(self) -> str:
        return (self._folder / "said").read_text()[-2000:]


def until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Raises TimeoutError, which says `what` never came."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def _as(user: str) -> list[str]:
    return ["runuser", "-u", user, "--"] if os.getuid() == 0 else []


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
