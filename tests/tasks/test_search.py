"""The search index is kept by the aside worker, and beat rings for it."""

from __future__ import annotations

from gateway import jobs
from tasks import search  # noqa: F401 - registers itself
from tasks.app import ASIDE, QUEUE_OF, app, task_name
from tasks.beat import SCHEDULE


def test_the_bell_has_a_task_a_queue_and_a_clock() -> None:
    assert task_name(jobs.SEARCH) in app.tasks
    assert QUEUE_OF[jobs.SEARCH] == ASIDE
    assert SCHEDULE[jobs.SEARCH] <= 5
