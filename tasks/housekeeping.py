"""The task behind the bell of housekeeping."""

from __future__ import annotations

from gateway import jobs
from gateway.services import housekeeping as service
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.HOUSEKEEPING, service.sweep)


@app.task(name=task_name(jobs.HOUSEKEEPING))
def housekeeping(rung_ms: int) -> None:
    _drain.answer(rung_ms)
