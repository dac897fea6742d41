"""The Celery app: which broker, which queues, and that a message is only ever a bell."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from celery import Celery, signals
from kombu.connection import Connection
from kombu.entity import Exchange, Queue

from gateway import config, jobs
from tasks import bells

DELIVER, WEBHOOKS, ASIDE = "deliver", "webhooks", "aside"
QUEUES = (DELIVER, WEBHOOKS, ASIDE)
"""Each has workers of its own: what waits in one is never behind what is slow in another."""
QUEUE_OF = {
    jobs.DELIVER: DELIVER,
    jobs.WEBHOOKS: WEBHOOKS,
    jobs.REPLAY: WEBHOOKS,
    jobs.HOUSEKEEPING: ASIDE,
    jobs.EXPAND: ASIDE,
    jobs.SEQUENCES: ASIDE,
    jobs.CLEAR: ASIDE,
    jobs.SEARCH: ASIDE,
    jobs.DOMAINS: ASIDE,
    jobs.HITS: ASIDE,
    jobs.AUDIT: ASIDE,
    jobs.ENGAGEMENT: ASIDE,
    jobs.IMPORT: ASIDE,
    jobs.CONFIRM: ASIDE,
    jobs.VALIDATE: ASIDE,
    jobs.CAMPAIGNS: ASIDE,
    jobs.AUTOMATIONS: ASIDE,
}
EXPIRES = 60
"""Seconds after which a bell says nothing any more. It is told by the ringer's clock and judged by the worker's, so
it is far longer than the five seconds to the next sweep: hosts whose clocks differ must not lose every bell."""
_KEPT_MS = 10_000

_PREFIX = "commandpost"


class _Connection(Connection):
    """A connection that comes back within two seconds of its broker, however long that was away."""

    def ensure_connection(self, errback: Any = None, max_retries: int | None = None, **options: Any) -> Any:
        intervals = {"interval_start": 0.2, "interval_step": 0.3, "interval_max": 2}
        return super().ensure_connection(errback, max_retries, **(options | intervals))


app = Celery("commandpost", set_as_current=True)
app.amqp.Connection = _Connection


def task_name(job: str) -> str:
    return f"commandpost.{job}"


def queue_name(queue: str) -> str:
    """The name at the broker, where other installations and applications may have theirs."""
    return f"{_split(config.settings().broker_url)[1]}.{queue}"


def _split(url: str) -> tuple[str, str]:
    """The URL without our own `prefix=` parameter, and that prefix."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    prefix = query.pop("prefix", _PREFIX)
    return urlunsplit(parts._replace(query=urlencode(query))), prefix


def configure(settings: config.Settings) -> Celery:
    """Point the app at the broker of `settings`; opens no connection."""
    url, prefix = _split(settings.broker_url)
    options: dict[str, Any] = {}
    arguments: dict[str, Any] | None = None
    if not url:
        url = f"{bells.SCHEME}://localhost/"
        options = {"folder": str(settings.data / "broker"), "polling_interval": 0.01}
    elif url.startswith("redis"):
        # An acknowledgement that Redis does not hear would keep its place in the window for ever, and a worker with
        # a full window never looks at its connection again. A bell needs none.
        options = {
            "global_keyprefix": f"{prefix}:",
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "ack_emulation": False,
        }
    else:
        # Bells that nobody hears must not pile up where no worker runs.
        arguments = {"x-max-length": bells.MOST, "x-message-ttl": _KEPT_MS}
    app.conf.update(
        broker_url=url,
        broker_transport_options=options,
        broker_connection_timeout=2,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_queues=[
            Queue(f"{prefix}.{queue}", Exchange(f"{prefix}.{queue}"), f"{prefix}.{queue}", queue_arguments=arguments)
            for queue in QUEUES
        ],
        task_default_queue=f"{prefix}.{ASIDE}",
        task_create_missing_queues=False,
        task_default_delivery_mode="transient",
        task_ignore_result=True,
        task_publish_retry=False,
        task_acks_late=False,
        task_serializer="json",
        accept_content=["json"],
        enable_utc=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_proc_alive_timeout=60,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # Beat's own messages are rung by our scheduler; the loop turns often enough to show that it lives.
        beat_max_loop_interval=1,
    )
    return app


@signals.setup_logging.connect
def _leave_logging_alone(**_: Any) -> None:
    """Whoever starts the process has set up the logs; a receiver here keeps Celery from doing it again."""
