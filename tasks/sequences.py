"""Sequences: whoever's next step is due gets it."""

from __future__ import annotations

from gateway import jobs
from gateway.services import sequence_runs
from tasks.app import app, task_name
from tasks.drains import Drain

_drain = Drain(jobs.SEQUENCES, sequence_runs.drain)


@app.task(name=task_name(jobs.SEQUENCES))
def sequences(rung_ms: int) -> None:
    _drain.answer(rung_ms)
