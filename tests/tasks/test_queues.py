"""Which bell rings in which worker."""

from __future__ import annotations

import pytest

from cli.parts import PARTS, WORKERS
from gateway import jobs
from tasks import app, parts
from tasks.app import DELIVER, QUEUE_OF, QUEUES, WEBHOOKS
from tests.conftest import use_settings


def test_webhooks_share_their_queue_with_nothing_but_their_replays() -> None:
    assert {job for job, queue in QUEUE_OF.items() if queue == WEBHOOKS} == {jobs.WEBHOOKS, jobs.REPLAY}
    assert {job for job, queue in QUEUE_OF.items() if queue == DELIVER} == {jobs.DELIVER}


def test_every_queue_has_a_worker_of_its_name() -> None:
    assert WORKERS == QUEUES
    for name in QUEUES:
        assert PARTS[name] == f"tasks.parts:{name}"
        assert callable(getattr(parts, name))


@pytest.mark.parametrize("url", ["", "amqp://guest:guest@127.0.0.1:5672//", "redis://127.0.0.1:6379/0"])
def test_each_broker_has_every_queue(url: str, tmp_path: object) -> None:
    settings = use_settings(tmp_path, BROKER_URL=url)  # type: ignore[arg-type]
    try:
        made = {queue.name for queue in app.configure(settings).conf.task_queues}
    finally:
        app.configure(use_settings(tmp_path))  # type: ignore[arg-type]
    assert made == {f"commandpost.{name}" for name in QUEUES}
