"""Messages that wake workers up: one queue per target, each message a build's id."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from amqp.exceptions import AMQPError
from amqp.exceptions import NotFound as NoQueue
from celery import Celery
from celery.exceptions import CeleryError
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError

from trtreg.core.build import RESEND_SECONDS
from trtreg.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trtreg.core.build import BuildRecord

WAKE = "trtreg.wake"
_EXCHANGE = Exchange("trtreg", type="direct", durable=True)
_SECONDS = 5.0
_TROUBLE = (OSError, AMQPError, KombuError, CeleryError)
_ANSWER_SECONDS = 1.0
"""For which workers are listened to. A busy machine's may take longer: then a queue counts as served by nobody."""


def app_of(broker: str) -> Celery:
    """The Celery application at `broker`, an AMQP URL. Raises UsageError for another kind."""
    if not broker.startswith(("amqp://", "amqps://", "pyamqp://")):
        # Redis gives a message that is worked on for long to a second worker, and one of a dead worker late.
        raise UsageError(
            f"no broker of trtreg's: {broker.partition('@')[2] or broker!r}", hint="amqp://USER:PASSWORD@HOST//"
        )
    app = Celery("trtreg", broker=broker, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=_SECONDS,
        broker_heartbeat=10,
        broker_transport_options={"confirm_publish": True},
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_create_missing_queues=True,
        task_ignore_result=True,
        task_serializer="json",
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
    )
    return app


def queue_named(name: str) -> Queue:
    """The queue, declared alike by all who use it."""
    arguments: dict[str, Any] = {"x-max-priority": 10}
    return Queue(name, _EXCHANGE, routing_key=name, durable=True, queue_arguments=arguments)


class CeleryBell:
    """`interfaces.Bell` at a broker."""

    def __init__(self, broker: str) -> None:
        self._app = app_of(broker)
        # A network that swallows everything says nothing. A worker waits for messages for longer than that.
        patience = {"read_timeout": _SECONDS, "write_timeout": _SECONDS}
        self._app.conf.broker_transport_options = {**self._app.conf.broker_transport_options, **patience}

    def ring(self, build: BuildRecord) -> None:
        with self._translated():
            try:
                self._send(build)
            except TimeoutError:
                raise  # A second try would wait as long.
            except _TROUBLE:
                # The broker gives up connections over which it hears nothing for long: this one may be of before.
                self._send(build)

    def _send(self, build: BuildRecord) -> None:
        self._app.send_task(
            WAKE,
            args=(build.id,),
            queue=queue_named(build.queue),
            declare=[queue_named(build.queue)],
            priority=build.priority,
            # The sweep sends another when this one has gone: they don't pile up where no worker is.
            expiration=RESEND_SECONDS,
            retry=False,
        )

    def is_served(self, queue: str) -> bool:
        """Whether a worker answers that it takes that queue's messages."""
        return queue in self.served()

    def served(self) -> dict[str, set[str]]:
        """The workers of each queue, by name. Asked of the workers themselves: one that is busy doesn't consume
        meanwhile, and answers all the same. Raises Unreachable."""
        with self._translated():
            told = self._app.control.inspect(timeout=_ANSWER_SECONDS).active_queues() or {}
        found: dict[str, set[str]] = {}
        for worker, queues in told.items():
            for queue in queues:
                found.setdefault(queue["name"], set()).add(worker)
        return found

    def waiting(self, queue: str) -> tuple[int, int] | None:
        """Messages and consumers of a queue; None where there is no such queue. Raises Unreachable."""
        try:
            with self._translated(), self._app.connection_for_read() as connection:
                declared = queue_named(queue)(connection.default_channel).queue_declare(passive=True)
                return declared.message_count, declared.consumer_count
        except NoQueue:
            return None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except NoQueue:
            raise
        except _TROUBLE as error:
            place = self._app.connection().as_uri()
            raise Unreachable(f"the broker {place}: {' '.join(str(error).split())}", hint="is RabbitMQ up?") from None
