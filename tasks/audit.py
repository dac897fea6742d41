"""The task behind the bell of the audit log."""

from __future__ import annotations

from gateway import jobs
from gateway.services import audit_chain as service
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.AUDIT, service.run)


@app.task(name=task_name(jobs.AUDIT))
def audit(rung_ms: int) -> None:
    _drain.answer(rung_ms)
