"""The task behind the bell of messages to lists."""

from __future__ import annotations

from gateway import jobs
from gateway.services import expansions
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.EXPAND, expansions.drain)


@app.task(name=task_name(jobs.EXPAND))
def expand(rung_ms: int) -> None:
    _drain.answer(rung_ms)
