"""The command as a process that a test can follow, stop and kill at the moment it wants."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = [sys.executable, "-m", "trtreg_cli.main"]
PATIENCE = 60.0
"""Seconds. Only a test that fails waits so long."""


class Running:
    """One `trtreg --verbose …` in a session of its own."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--verbose", *map(os.fspath, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.said = ""

    def until(self, words: str) -> None:
        """Return as soon as stderr has said so."""
        assert self.process.stderr
        for line in self.process.stderr:
            self.said += line
            if words in line:
                return
        raise AssertionError(f"never said {words!r}: {self.said}")

    def child(self) -> int:
        """The process of the workshop that works for it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if children := children_of(self.process.pid):
                return children[0]
            time.sleep(0.002)
        raise AssertionError("it has no child")

    def stop_child(self) -> int:
        """Let the child hang, as hardware or a network file system may let it."""
        child = self.child()
        os.kill(child, signal.SIGSTOP)
        return child

    def kill(self) -> None:
        """All of its session, as the kernel or a batch system would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> tuple[int, str]:
        """Exit code and stdout, once it has ended; `said` is then all of stderr."""
        out, err = self.process.communicate(timeout=PATIENCE)
        self.said += err
        assert "Traceback" not in self.said
        return self.process.returncode, out


@contextmanager
def running(*arguments: str | Path) -> Iterator[Running]:
    """It is dead at the end, whatever becomes of the test."""
    run = Running(*arguments)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.kill()
        for stream in (run.process.stdout, run.process.stderr):
            if stream:
                stream.close()


def children_of(parent: int) -> list[int]:
    """Processes of the workshop that were started by `parent`, be it dead: they carry its number."""
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _is_child(p, parent)]


def gone(process: int) -> bool:
    """Whether the process ends in a while."""
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
        if "\nState:\tZ" in Path(f"/proc/{process}/status").read_text():
            return True
        time.sleep(0.01)
    return not Path(f"/proc/{process}").exists()


def _is_child(process: Path, parent: int) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"trtreg.workshop.child" in words and str(parent).encode() in words[-2:]
