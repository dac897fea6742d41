"""What is taken out of the store: how far it has come, what has a time of its own, who asked to be erased."""

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


class Erasure(Model):
    """One address of an account is replaced in the deliveries up to `upto` and all that belongs to them."""

    id = pw.BigAutoField()
    account_id = pw.IntegerField(index=True)
    pseudonym = pw.CharField(64)
    sealed = pw.TextField(null=True)  # the address, until the end
    after = pw.BigIntegerField(default=0)  # the last delivery that was looked at
    upto = pw.BigIntegerField()
    deliveries = pw.IntegerField(default=0)  # that were found so far
    created_ms = pw.BigIntegerField()
    ended_ms = pw.BigIntegerField(null=True, index=True)
