"""The task behind the bell of deliveries."""

from __future__ import annotations

from gateway import jobs
from gateway.services import deliveries
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.DELIVER, deliveries.drain)


# The time limit is a watchdog: a child that hangs is killed, its journal says what it had sent.
@app.task(name=task_name(jobs.DELIVER), time_limit=120)
def deliver(rung_ms: int) -> None:
    _drain.answer(rung_ms)
