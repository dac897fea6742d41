"""Senders that begin small: mailboxes and source addresses with a number of messages a day that grows."""

from __future__ import annotations

import peewee as pw

from models.database import Model


class Warmup(Model):
    """A mailbox, or a source address with one provider (a group of exchangers); of an address with all, '' as provider.

    `day_limit` and `used` are those of `day`.
    """

    id = pw.AutoField()
    account_id = pw.IntegerField(default=0)  # 0: the operator's, of a source address
    domain_id = pw.IntegerField(default=0)
    mailbox_id = pw.IntegerField(default=0)
    source = pw.CharField(45, default="")
    provider = pw.CharField(255, default="")
    goal = pw.IntegerField()  # messages a day at which it ends
    day = pw.IntegerField()  # since 1970-01-01, UTC
    day_limit = pw.IntegerField()
    used = pw.IntegerField(default=0)
    reason = pw.CharField(255, default="")  # why the limit is what it is
    done_ms = pw.BigIntegerField(null=True)
    created_ms = pw.BigIntegerField()

    class Meta:
        indexes = ((("mailbox_id", "source", "provider"), True), (("done_ms",), False), (("domain_id",), False))


class WarmupGrant(Model):
    """A delivery that one of the day's places was given to; a repeated attempt needs no second one."""

    warmup_id = pw.IntegerField()
    delivery_id = pw.BigIntegerField()
    day = pw.IntegerField(index=True)

    class Meta:
        primary_key = pw.CompositeKey("warmup_id", "delivery_id")


class WarmupDay(Model):
    """What one day allowed, and how much of it was used."""

    warmup_id = pw.IntegerField()
    day = pw.IntegerField(index=True)
    day_limit = pw.IntegerField()
    used = pw.IntegerField()

    class Meta:
        primary_key = pw.CompositeKey("warmup_id", "day")
