"""The task behind the bell of the search index."""

from __future__ import annotations

from gateway import jobs
from gateway.services import search_index as service
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.SEARCH, service.run)


@app.task(name=task_name(jobs.SEARCH))
def search(rung_ms: int) -> None:
    _drain.answer(rung_ms)
