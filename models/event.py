"""Append-only facts and the roll-ups written with them."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Event(Model):
    id = pw.BigAutoField()
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField()
    kind = pw.SmallIntegerField()
    at_ms = pw.BigIntegerField()
    message_id = pw.BigIntegerField()
    delivery_id = pw.BigIntegerField(null=True)
    rcpt = pw.CharField(320, default="")
    mx_id = pw.IntegerField(null=True)
    reply_id = pw.IntegerField(null=True)
    ip = pw.CharField(45, default="")
    data = LongTextField(null=True)  # JSON object
    logged_ms = pw.BigIntegerField(null=True)  # the server's time at the insert; NULL where ids follow the commits

    class Meta:
        # Three indexes and no more: each further one costs every event more than it gives.
        indexes = (
            (("domain_id", "id"), False),
            (("domain_id", "kind", "id"), False),
            (("message_id", "delivery_id"), False),
        )


class Reply(Model):
    """A remote's reply text with queue ids taken out, stored once."""

    id = pw.AutoField()
    digest = pw.CharField(32, unique=True)
    text = pw.CharField(1024)


class Mx(Model):
    """A remote host that took or refused mail, stored once."""

    id = pw.AutoField()
    name = pw.CharField(255, unique=True)


class Counter(Model):
    """Events by domain × day × kind × tag; tag '' counts all of the domain."""

    domain_id = pw.IntegerField()
    day = pw.IntegerField()  # days since 1970-01-01, UTC
    kind = pw.SmallIntegerField()
    tag = pw.CharField(190)
    n = pw.BigIntegerField(default=0)

    class Meta:
        primary_key = pw.CompositeKey("domain_id", "day", "kind", "tag")
        without_rowid = True


class Facet(Model):
    """Events by domain × facet × day × value × kind; the values of one facet are few."""

    domain_id = pw.IntegerField()
    facet = pw.SmallIntegerField()
    day = pw.IntegerField()  # days since 1970-01-01, UTC
    value = pw.CharField(190)
    kind = pw.SmallIntegerField()
    n = pw.BigIntegerField(default=0)

    class Meta:
        primary_key = pw.CompositeKey("domain_id", "facet", "day", "value", "kind")
        without_rowid = True
