"""The bell of DNS checks: registered, scheduled, and answered by the service."""

from __future__ import annotations

from gateway import clock, jobs
from models.domain import SenderDomain
from tasks.app import ASIDE, QUEUE_OF, app, task_name
from tasks.beat import SCHEDULE
from tasks.domains import domains
from tests import cast


def test_it_is_a_task_of_the_worker_aside() -> None:
    assert task_name(jobs.DOMAINS) in app.tasks
    assert QUEUE_OF[jobs.DOMAINS] == ASIDE
    assert SCHEDULE[jobs.DOMAINS] <= 60


def test_it_checks_what_is_due(store: str) -> None:
    domain = cast.sender().domain
    SenderDomain.update(next_check_ms=1, deleted_ms=5).execute()
    domains(clock.now_ms() + 1000)
    assert SenderDomain.get_by_id(domain.id).next_check_ms > clock.now_ms()  # claimed, and left alone: it is deleted
