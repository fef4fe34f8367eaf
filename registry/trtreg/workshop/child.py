"""The child process: takes one task on stdin, answers on the pipe whose descriptor it is given.

python -m trtreg.workshop.child DESCRIPTOR SECONDS MEMORY PARENT
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

from trtreg.errors import TrtregError
from trtreg.workshop.steps import perform
from trtreg.workshop.wire import Telegraph, task_from_text

_PR_SET_PDEATHSIG = 1


def main(descriptor: int, seconds: float, memory: int, parent: int) -> int:
    """Do the task; 0 whether it succeeded or failed deliberately."""
    _die_with(parent)
    _limit(seconds, memory)
    with os.fdopen(descriptor, "w", encoding="utf-8") as pipe:
        telegraph = Telegraph(pipe)
        try:
            telegraph.answer(perform(task_from_text(sys.stdin.read()), telegraph))
        except TrtregError as error:
            telegraph.failure(error)
    return 0


def _die_with(parent: int) -> None:
    """A supervisor that is killed must not leave a build running that nobody will collect."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _limit(seconds: float, memory: int) -> None:
    # RLIMIT_DATA counts private writable memory only: CUDA reserves far more address space than it ever uses,
    # and mapped weights are the page cache's.
    _lower(resource.RLIMIT_DATA, memory)
    # The supervisor's clock is the real limit; this one holds if the supervisor can't run.
    _lower(resource.RLIMIT_CPU, int(seconds * (os.cpu_count() or 1)) + 60)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(kind: int, limit: int) -> None:
    # A limit that somebody has set on us may not be raised, and the kernel knows no number beyond its own.
    _, ceiling = resource.getrlimit(kind)
    limit = min(limit, sys.maxsize if ceiling == resource.RLIM_INFINITY else ceiling)
    resource.setrlimit(kind, (limit, limit))


if __name__ == "__main__":
    _, descriptor, seconds, memory, parent = sys.argv
    sys.exit(main(int(descriptor), float(seconds), int(memory), int(parent)))
