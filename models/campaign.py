"""Campaigns: one message to a whole audience, its life, and what came of it in numbers."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Campaign(Model):
    """`due_ms` is when a worker looks at it next: its time, or whether it is through."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField()
    live = pw.BooleanField(default=True)
    name = pw.CharField(255)
    state = pw.CharField(12)  # one of CAMPAIGN_STATES
    content = LongTextField()  # JSON: sender, subject, html, text, template_id, variables, headers …
    list_id = pw.IntegerField()  # or a segment
    scheduled_ms = pw.BigIntegerField(null=True)
    message_id = pw.BigIntegerField(null=True)  # once it was launched
    recipients = pw.IntegerField(default=0)  # at its launch
    cause = pw.CharField(1000, default="")  # why it failed, or waits
    due_ms = pw.BigIntegerField(null=True, index=True)
    created_ms = pw.BigIntegerField()
    updated_ms = pw.BigIntegerField()
    launched_ms = pw.BigIntegerField(null=True)
    paused_ms = pw.BigIntegerField(null=True)  # since when it stands still
    ended_ms = pw.BigIntegerField(null=True)
    deleted_ms = pw.BigIntegerField(null=True)  # its number names what it sent, so it is never another's

    class Meta:
        indexes = ((("account_id", "id"), False), (("account_id", "state", "id"), False))


class Tally(Model):
    """Events of what sent their messages (`cmp:12`) by facet × value × kind; written with the events."""

    origin = pw.CharField(40)
    facet = pw.SmallIntegerField()
    value = pw.CharField(190)
    kind = pw.SmallIntegerField()
    n = pw.BigIntegerField(default=0)

    class Meta:
        primary_key = pw.CompositeKey("origin", "facet", "value", "kind")
        without_rowid = True
