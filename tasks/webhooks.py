"""The task behind the bell of webhooks."""

from __future__ import annotations

from gateway import config, jobs
from gateway.services import webhooks as service
from tasks.app import app, task_name
from tasks.drains import Drain


def _most() -> int:
    """A thread is left for replays, however slow the endpoints are."""
    return max(1, config.settings().webhook_threads - 1)


_drain = Drain(jobs.WEBHOOKS, service.drain, _most)


@app.task(name=task_name(jobs.WEBHOOKS))
def webhooks(rung_ms: int) -> None:
    _drain.answer(rung_ms)
