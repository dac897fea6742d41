"""The task behind the bell of tracking hits."""

from __future__ import annotations

from gateway import jobs
from gateway.services import tracking as service
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.HITS, service.drain)


@app.task(name=task_name(jobs.HITS))
def hits(rung_ms: int) -> None:
    _drain.answer(rung_ms)
