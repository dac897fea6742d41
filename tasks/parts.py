"""The parts that Celery runs: the delivering worker, those for webhooks and everything aside, and beat."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from typing import Any

from celery import beat as celery_beat
from celery import signals
from celery.exceptions import SecurityWarning

from gateway import config, jobs
from gateway.process import die_with_parent
from gateway.services import deliveries, health, pulse
from models import database as db

# The tasks register themselves; imported here, they are warm before a part is forked.
from tasks import audit as _audit  # noqa: F401
from tasks import automations as _automations  # noqa: F401
from tasks import campaigns as _campaigns  # noqa: F401
from tasks import clear as _clear  # noqa: F401
from tasks import confirmations as _confirmations  # noqa: F401
from tasks import deliver as _deliver  # noqa: F401
from tasks import domains as _domains  # noqa: F401
from tasks import engagement as _engagement  # noqa: F401
from tasks import expand as _expand  # noqa: F401
from tasks import hits as _hits  # noqa: F401
from tasks import housekeeping as _housekeeping  # noqa: F401
from tasks import list_imports as _list_imports  # noqa: F401
from tasks import replay as _replay  # noqa: F401
from tasks import ringer
from tasks import search as _search  # noqa: F401
from tasks import sequences as _sequences  # noqa: F401
from tasks import validations as _validations  # noqa: F401
from tasks import webhooks as _webhooks  # noqa: F401
from tasks.app import ASIDE, DELIVER, QUEUE_OF, WEBHOOKS, app, queue_name
from tasks.beat import Scheduler

_STALE = 10.0


def deliver() -> int:
    """Deliver mail until SIGTERM; returns the exit status."""
    return _work(DELIVER, pool="prefork", concurrency=config.settings().deliver_processes)


def webhooks() -> int:
    """Tell endpoints until SIGTERM: waiting for others, so threads, and a process that nothing else slows down."""
    return _work(WEBHOOKS, pool="threads", concurrency=config.settings().webhook_threads)


def aside() -> int:
    """Housekeeping, search, hits and the like until SIGTERM: threads, since each waits for the database mostly."""
    return _work(ASIDE, pool="threads", concurrency=config.settings().aside_threads)


def beat() -> int:
    """Ring for lost bells until SIGTERM."""
    ringer.install()
    service = celery_beat.Service(app, scheduler_cls=Scheduler)
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    scheduler: Scheduler = service.scheduler
    stop = pulse.start("beat", lambda: time.monotonic() - scheduler.ticked < _STALE)
    service.start()
    stop.set()
    return 0


def ping() -> str:
    """The broker's URL without its password; raises what the client library raises when it is away."""
    connection = app.connection_for_read()
    try:
        connection.connect()
        connection.default_channel.close()
        return str(connection.as_uri()) if config.settings().broker_url else "the embedded broker"
    finally:
        connection.release()


def _exit(*_: Any) -> None:
    raise SystemExit(0)


def _work(part: str, *, pool: str, concurrency: int) -> int:
    ringer.install()
    # Celery warns of root because of pickle, which we do not accept.
    warnings.simplefilter("ignore", SecurityWarning)
    main = os.getpid()

    def child_started(**_: Any) -> None:
        die_with_parent(main)
        db.close()
        pulse.start(f"{health.DELIVERING}{os.getpid()}")
        ringer.ring(jobs.DELIVER)  # a sibling may have died and left a journal

    def ready(**_: Any) -> None:
        # Celery's own handler would start the program anew under the supervisor's feet.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        pulse.start(part)
        for job in (job for job, queue in QUEUE_OF.items() if queue == part):
            ringer.ring(job)  # whatever came while no worker was here

    def child_ends(**_: Any) -> None:
        deliveries.close()

    signals.worker_process_init.connect(child_started, weak=False)
    signals.worker_process_shutdown.connect(child_ends, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    worker = app.Worker(
        hostname=f"{part}@%h",
        pool=pool,
        concurrency=concurrency,
        queues=[queue_name(part)],
        loglevel="WARNING",
        optimization="fair",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    sys.stdout.flush()
    worker.start()
    return int(worker.exitcode or 0)
