"""Kill a process after each call into C that the storage code makes: every write, flush, rename, link and so on.

Runs in a child process of its own, since forking pytest isn't safe.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from types import FrameType


def kills(
    action: Callable[[], None], check: Callable[[], None], *, seed: int, at_most: int, within: str = "trtreg"
) -> int:
    """Run `action` in child processes that die at different steps, and `check` after each; how many died.

    All steps are tried if there are no more than `at_most`, else as many, drawn by `seed`. Each child finds what
    its predecessors left. Steps count in files whose names have `within` in them.
    """
    steps = list(range(_steps_of(action, within)))
    for step in sorted(random.Random(seed).sample(steps, min(at_most, len(steps)))):
        _die_at(action, step, within)
        check()
    return min(at_most, len(steps))


def _steps_of(action: Callable[[], None], within: str) -> int:
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        counted = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal counted
            counted += _is_step(frame, event, within)

        sys.setprofile(count)
        action()
        sys.setprofile(None)
        os.write(write, str(counted).encode())
        os._exit(0)
    # A child that fails says nothing: without this, the reading would wait for ever.
    os.close(write)
    os.waitpid(child, 0)
    return int(os.read(read, 20))


def _die_at(action: Callable[[], None], step: int, within: str) -> None:
    if (child := os.fork()) == 0:
        left = step

        def strike(frame: FrameType, event: str, argument: object) -> None:
            nonlocal left
            if _is_step(frame, event, within):
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1

        sys.setprofile(strike)
        action()
        os._exit(0)
    os.waitpid(child, 0)


def _is_step(frame: FrameType, event: str, within: str) -> bool:
    return event == "c_call" and (within in frame.f_code.co_filename or "pathlib" in frame.f_code.co_filename)
