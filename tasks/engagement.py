"""The task behind the bell of what addresses opened and clicked."""

from __future__ import annotations

from gateway import jobs
from gateway.services import engagement as service
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.ENGAGEMENT, service.run)


@app.task(name=task_name(jobs.ENGAGEMENT))
def engagement(rung_ms: int) -> None:
    _drain.answer(rung_ms)
