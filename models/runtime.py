"""What may be lost with the power: request counters, heartbeats, the last hour of destinations, caught scanners."""

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


class DestinationMinute(ScratchModel):
    """How many messages a destination took and refused for good in one minute, from all processes that deliver."""

    target = pw.CharField(255)  # a group of mail exchangers
    minute = pw.BigIntegerField()  # since 1970
    taken = pw.IntegerField()
    refused = pw.IntegerField()

    class Meta:
        table_name = "destination_minute"
        primary_key = pw.CompositeKey("target", "minute")


class HoneypotHit(ScratchModel):
    """Somebody followed the hidden link of a delivery, and when they first did."""

    delivery_id = pw.BigIntegerField()
    visitor = pw.CharField(24)
    at_ms = pw.BigIntegerField(index=True)

    class Meta:
        table_name = "honeypot_hit"
        primary_key = pw.CompositeKey("delivery_id", "visitor")
