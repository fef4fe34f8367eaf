"""Messages that wake workers up: one queue per target, each message a build's id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.exceptions import CeleryError
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError

from trtreg.core.build import RESEND_SECONDS
from trtreg.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from trtreg.core.build import BuildRecord

WAKE = "trtreg.wake"
_EXCHANGE = Exchange("trtreg", type="direct", durable=True)
_SECONDS = 5.0


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

    def ring(self, build: BuildRecord) -> None:
        try:
            self._app.send_task(
                WAKE,
                args=(build.id,),
                queue=queue_named(build.queue),
                declare=[queue_named(build.queue)],
                # The sweep sends another when this one has gone: they don't pile up where no worker is.
                expiration=RESEND_SECONDS,
                retry=False,
            )
        except (OSError, KombuError, CeleryError) as error:
            place = self._app.connection().as_uri()
            raise Unreachable(f"the broker {place}: {' '.join(str(error).split())}", hint="is RabbitMQ up?") from None

    def waiting(self, queue: str) -> tuple[int, int] | None:
        """Messages and consumers of a queue; None where there is no such queue. Raises Unreachable."""
        from amqp.exceptions import NotFound as NoQueue

        try:
            with self._app.connection_for_read() as connection:
                declared = queue_named(queue)(connection.default_channel).queue_declare(passive=True)
                return declared.message_count, declared.consumer_count
        except NoQueue:
            return None
        except (OSError, KombuError) as error:
            place = self._app.connection().as_uri()
            raise Unreachable(f"the broker {place}: {' '.join(str(error).split())}", hint="is RabbitMQ up?") from None
