"""The console command, as a process of its own or, where many calls are made, inside this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from small_models import write_classifier, write_vanishing
from trtreg_cli import main

COMMAND = [sys.executable, "-m", "trtreg_cli.main"]


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on stdout."""
        (line,) = self.out.splitlines()
        return line

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, code: int) -> str:
        """The message of a deliberate failure: nothing on stdout, one line `error:`, at most a hint after it."""
        assert self.code == code, self
        assert self.out == ""
        assert "Traceback" not in self.err
        lines = self.err.splitlines()
        (at,) = [i for i, line in enumerate(lines) if line.lower().startswith("error: ")]
        assert all(line.startswith("hint: ") for line in lines[at + 1 :]), self.err
        assert len(lines) <= at + 2
        return lines[at].partition(" ")[2]


Console = Callable[..., Answer]


def process(*arguments: str | Path, env: Mapping[str, str] | None = None, **more: Any) -> Answer:
    """The command as a shell would start it."""
    done = subprocess.run(
        [*COMMAND, *map(os.fspath, arguments)],
        env={**os.environ, **(env or {})},
        capture_output=True,
        timeout=120,
        check=False,
        **more,
    )
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def bare_console(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Console:
    """The command inside this process, with the settings of the environment."""

    def call(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["trtreg", *map(os.fspath, arguments)])
            before = signal.getsignal(signal.SIGTERM)
            with pytest.raises(SystemExit) as leaving:
                main.run()
            signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        assert isinstance(leaving.value.code, int)
        return Answer(leaving.value.code, out, err)

    return call


@pytest.fixture
def console(bare_console: Console, home: Path) -> Console:
    """The same in the module's `home`."""
    return lambda *arguments: bare_console("--home", home, *arguments)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry that a module's tests share. It knows `tiny` and `vanishing`, which is nothing in fp16."""
    folder = tmp_path_factory.mktemp("shared")
    for name, write in (("tiny", write_classifier), ("vanishing", write_vanishing)):
        added = process("--home", folder / "home", "model", "add", name, write(folder / f"{name}.onnx"))
        assert added == Answer(0, f"{name}@1\n", "")
    return folder / "home"


@pytest.fixture
def model(home: Path) -> Path:
    """The file that `tiny` was added from."""
    return home.parent / "tiny.onnx"
