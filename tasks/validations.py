"""The task behind the bell of addresses that wait to be validated."""

from __future__ import annotations

from gateway import jobs
from gateway.services import validation_jobs as service
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.VALIDATE, service.run)


@app.task(name=task_name(jobs.VALIDATE))
def validations(rung_ms: int) -> None:
    _drain.answer(rung_ms)
