"""The sweeper's clock: Celery's scheduler, ringing through the ringer so that an outage cannot hold it."""

from __future__ import annotations

import time
from typing import Any

from celery import beat

from gateway import jobs
from tasks import ringer

SCHEDULE = {
    jobs.DELIVER: 5.0,
    jobs.WEBHOOKS: 5.0,
    jobs.REPLAY: 5.0,
    jobs.EXPAND: 5.0,
    jobs.SEQUENCES: 5.0,
    jobs.CLEAR: 5.0,
    jobs.HOUSEKEEPING: 60.0,
    jobs.SEARCH: 3.0,
    jobs.DOMAINS: 60.0,
    jobs.HITS: 5.0,
    jobs.AUDIT: 5.0,
    jobs.ENGAGEMENT: 5.0,
    jobs.IMPORT: 5.0,
    jobs.CONFIRM: 5.0,
    jobs.VALIDATE: 5.0,
    jobs.CAMPAIGNS: 5.0,
    jobs.AUTOMATIONS: 5.0,
}
"""Seconds between two bells that ring without cause, for rows whose own bell was lost."""


class Scheduler(beat.Scheduler):
    """Keeps nothing on disk: a schedule of a few intervals needs no memory."""

    def setup_schedule(self) -> None:
        self.ticked = time.monotonic()
        self.update_from_dict({job: {"task": job, "schedule": seconds} for job, seconds in SCHEDULE.items()})
        for job in SCHEDULE:
            ringer.ring(job)

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        self.ticked = time.monotonic()
        return super().tick(*args, **kwargs)

    @property
    def producer(self) -> None:
        """No connection of beat's own."""

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        ringer.ring(entry.task)
