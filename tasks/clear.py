"""The task behind the bell of queues that were cleared."""

from __future__ import annotations

from gateway import jobs
from gateway.services import clearances
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.CLEAR, clearances.drain)


@app.task(name=task_name(jobs.CLEAR))
def clear(rung_ms: int) -> None:
    _drain.answer(rung_ms)
