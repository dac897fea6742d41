"""The task behind the bell of campaigns."""

from __future__ import annotations

from gateway import jobs
from gateway.services import campaign_launches
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.CAMPAIGNS, campaign_launches.drain)


@app.task(name=task_name(jobs.CAMPAIGNS))
def campaigns(rung_ms: int) -> None:
    _drain.answer(rung_ms)
