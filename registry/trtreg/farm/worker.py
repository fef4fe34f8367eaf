"""A Celery worker that builds: it takes one message per free hand, and lets go of it as soon as the lease is held.

A message that stays unacknowledged for longer than RabbitMQ's consumer timeout (half an hour) is given to another
worker and costs this one its connection. So it is acknowledged when the build begins; and while all hands are busy,
this worker doesn't consume at all, or the broker would hand it the next message, to wait for hours beside an idle one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from celery import signals
from celery.worker import state

from trtreg.farm.bell import WAKE, app_of, queue_named

Work = Callable[[str, Callable[[], None]], str]
"""Works on the build of that id; calls back once its lease is held; returns what it came to, in words."""


def run_worker(
    broker: str,
    *,
    queues: Sequence[str],
    name: str,
    concurrency: int,
    work: Work,
    sweep: Callable[[], None],
    sweep_seconds: float,
    log_level: str = "INFO",
) -> int:
    """Serve these queues until SIGTERM, which lets the builds under way end; the exit code."""
    app = app_of(broker)
    app.conf.task_queues = [queue_named(queue) for queue in queues]
    turnstile = _Turnstile(concurrency)

    def wake(task: Any, build: str) -> str:
        request = state.requests.get(task.request.id)
        try:
            return work(build, lambda: turnstile.enter(request))
        finally:
            turnstile.leave(request)

    app.task(wake, name=WAKE, bind=True)
    signals.worker_ready.connect(turnstile.open, weak=False)
    signals.worker_shutting_down.connect(turnstile.close, weak=False)
    worker = app.Worker(
        hostname=name,
        pool="threads",
        concurrency=concurrency,
        loglevel=log_level,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    ended = threading.Event()
    sweeper = threading.Thread(target=_sweep, args=(sweep, sweep_seconds, ended), name="sweep", daemon=True)
    sweeper.start()
    try:
        worker.start()
    finally:
        ended.set()
    return int(worker.exitcode or 0)


def _sweep(sweep: Callable[[], None], seconds: float, ended: threading.Event) -> None:
    while not ended.is_set():
        sweep()
        ended.wait(seconds)


class _Turnstile:
    """Consumes only while a hand is free. Celery's connection belongs to its own thread: all is asked of that one."""

    def __init__(self, hands: int) -> None:
        self._hands, self._busy, self._lock = hands, set[int](), threading.Lock()
        self._consumer: Any = None
        self._is_open, self._is_ending = True, False

    def open(self, sender: Any, **_: object) -> None:
        """Celery has connected, for the first time or again: it consumes."""
        self._consumer, self._is_open = sender, True
        self._settle()

    def close(self, **_: object) -> None:
        """The worker drains: whoever took another message now would have no thread left for it."""
        self._is_ending = True

    def enter(self, request: Any) -> None:
        """A build has begun."""
        with self._lock:
            self._busy.add(id(request))
        # First no more messages, then the acknowledgement that would bring one.
        self._ask(self._settle)
        self._ask(request.acknowledge)

    def leave(self, request: Any) -> None:
        """A hand is free again."""
        with self._lock:
            self._busy.discard(id(request))
        self._ask(self._settle)

    def _ask(self, action: Callable[[], None]) -> None:
        if self._consumer is not None:
            self._consumer.call_soon(action)

    def _settle(self) -> None:
        wanted = len(self._busy) < self._hands and not self._is_ending
        tasks = getattr(self._consumer, "task_consumer", None)
        if tasks is None or wanted == self._is_open:
            return
        self._is_open = wanted
        if wanted:
            tasks.consume()
        else:
            tasks.cancel()
