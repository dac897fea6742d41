"""What may be lost with the power: request counters and heartbeats."""

from __future__ import annotations

import peewee as pw

from models.database import ScratchModel


class RateCounter(ScratchModel):
    """Requests in one window; the window starts with its first request."""

    key = pw.CharField(128, primary_key=True)
    n = pw.IntegerField()
    expires_ms = pw.BigIntegerField(index=True)


class Heartbeat(ScratchModel):
    """The last sign of life of one part of one host."""

    host = pw.CharField(128)
    part = pw.CharField(32)
    pid = pw.IntegerField()
    at_ms = pw.BigIntegerField()

    class Meta:
        primary_key = pw.CompositeKey("host", "part")
