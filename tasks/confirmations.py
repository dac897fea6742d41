"""The task behind the bell of mails that ask new subscribers whether it was they."""

from __future__ import annotations

from gateway import jobs
from gateway.services import confirmations as service
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.CONFIRM, service.drain)


@app.task(name=task_name(jobs.CONFIRM))
def confirmations(rung_ms: int) -> None:
    _drain.answer(rung_ms)
