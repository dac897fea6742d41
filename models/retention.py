"""How far what has run out was taken out of the store, and what has a time of its own."""

from __future__ import annotations

import peewee as pw

from models.database import Model


class RetentionMark(Model):
    """Messages of the domain up to `message_id` were looked at."""

    domain_id = pw.IntegerField()
    part = pw.SmallIntegerField()  # RetentionPart
    message_id = pw.BigIntegerField()

    class Meta:
        primary_key = pw.CompositeKey("domain_id", "part")


class RetentionDue(Model):
    """A message whose part goes at a time of its own: it asked for it, or it was live when its turn came."""

    message_id = pw.BigIntegerField()
    part = pw.SmallIntegerField()
    due_ms = pw.BigIntegerField(index=True)

    class Meta:
        primary_key = pw.CompositeKey("message_id", "part")
