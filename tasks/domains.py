"""The task behind the bell of DNS checks."""

from __future__ import annotations

from gateway import jobs
from gateway.services import rechecks as service
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.DOMAINS, service.run)


@app.task(name=task_name(jobs.DOMAINS))
def domains(rung_ms: int) -> None:
    _drain.answer(rung_ms)
