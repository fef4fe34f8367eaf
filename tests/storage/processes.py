"""Child processes for the fault tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def start(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start Python on `code`; it can import `trtreg` and `storage.samples`."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *_inherited()])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def _inherited() -> list[str]:
    return [path for path in [os.environ.get("PYTHONPATH")] if path]


def run(code: str, *arguments: str | Path) -> str:
    """What `code` prints. A failure shows what it printed on stderr."""
    with start(code, *arguments) as child:
        out, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    return out
