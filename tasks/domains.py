"""The task behind the bell of DNS checks."""

from __future__ import annotations

import time

from gateway import jobs
from gateway.services import domain_health, rechecks
from tasks.app import app, task_name
from tasks.drains import Drain


def _work(seconds: float) -> None:
    end = time.monotonic() + seconds
    rechecks.run(seconds)
    domain_health.run(end - time.monotonic())


_drain = Drain(jobs.DOMAINS, _work)


@app.task(name=task_name(jobs.DOMAINS))
def domains(rung_ms: int) -> None:
    _drain.answer(rung_ms)
