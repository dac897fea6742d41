"""The task behind the bell of files of subscribers."""

from __future__ import annotations

from gateway import jobs
from gateway.services import list_imports as service
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.IMPORT, service.drain)


@app.task(name=task_name(jobs.IMPORT))
def list_imports(rung_ms: int) -> None:
    _drain.answer(rung_ms)
