"""The task behind the bell of automations."""

from __future__ import annotations

from gateway import jobs
from gateway.services import automation_work
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.AUTOMATIONS, automation_work.drain)


@app.task(name=task_name(jobs.AUTOMATIONS))
def automations(rung_ms: int) -> None:
    _drain.answer(rung_ms)
