"""The task behind the bell of webhook deliveries that are told once more."""

from __future__ import annotations

from gateway import jobs
from gateway.services import webhook_replays
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.REPLAY, webhook_replays.drain)


@app.task(name=task_name(jobs.REPLAY))
def replay(rung_ms: int) -> None:
    _drain.answer(rung_ms)
