"""Campaign sends: one message for each recipient under one name."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Batch(Model):
    """Its messages have `bat:` and the hex of `uuid` as origin, by which their events are counted."""

    id = pw.BigAutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField()
    from_addr = pw.CharField(320)
    subject = LongTextField()
    recipients = pw.IntegerField()  # messages that were accepted
    blocked = pw.IntegerField()  # recipients that were refused
    send_at_ms = pw.BigIntegerField(null=True)
    created_ms = pw.BigIntegerField()

    class Meta:
        indexes = ((("domain_id", "id"), False),)
