"""The queue: lanes, deliveries and their attempts."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model
from models.vocabulary import TERMINAL


class Lane(Model):
    """A fair queue: of an account × domain × stream × route, or of one webhook endpoint."""

    id = pw.AutoField()
    kind = pw.SmallIntegerField()
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField(default=0)
    stream = pw.SmallIntegerField(default=0)
    route = pw.CharField(64, default="")
    endpoint_id = pw.IntegerField(default=0)
    paused_until_ms = pw.BigIntegerField(default=0)
    cause = pw.CharField(255, default="")

    class Meta:
        indexes = ((("kind", "account_id", "domain_id", "stream", "route", "endpoint_id"), True),)


class Delivery(Model):
    """One message to one recipient. `due_ms` is the next attempt and, while claimed, the lease's end."""

    id = pw.BigAutoField()
    message_id = pw.BigIntegerField(index=True)
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField()
    rcpt = pw.CharField(320)
    merge = LongTextField(null=True)  # JSON object of this recipient's fields
    state = pw.SmallIntegerField()
    fence = pw.IntegerField(default=0)
    attempts = pw.IntegerField(default=0)
    lane_id = pw.IntegerField(null=True)
    due_ms = pw.BigIntegerField(null=True)
    expires_ms = pw.BigIntegerField()
    waiting = LongTextField(null=True)  # a verdict as JSON: why it was claimed and put back untried

    class Meta:
        indexes = ((("lane_id", "due_ms"), False),)
        constraints = [
            pw.Check(f"(state >= {TERMINAL}) = (due_ms IS NULL)"),
            pw.Check(f"(state >= {TERMINAL}) = (lane_id IS NULL)"),
        ]


class Attempt(Model):
    """One SMTP transaction or provider call, with what was said."""

    id = pw.BigAutoField()
    delivery_id = pw.BigIntegerField(index=True)
    no = pw.IntegerField()
    transport = pw.CharField(64)
    remote = pw.CharField(255, default="")
    tls = pw.CharField(128, default="")
    code = pw.SmallIntegerField(null=True)
    enhanced = pw.CharField(16, default="")
    reply = LongTextField(default="")
    dialogue = LongTextField(default="")  # at most 4 kB
    outcome = pw.CharField(16)  # delivered | handed_over | deferred | bounced | in_doubt
    category = pw.CharField(24, default="")
    started_ms = pw.BigIntegerField()
    ms = pw.IntegerField(default=0)
    verdicts = LongTextField(default="[]")


class CapturedMail(Model):
    """What the capture transport took instead of sending it; a repeated attempt replaces its row."""

    id = pw.BigAutoField()
    delivery_id = pw.BigIntegerField(unique=True)
    message_id = pw.BigIntegerField()
    account_id = pw.IntegerField()
    content_id = pw.BigIntegerField(index=True)
    mail_from = pw.CharField(320)
    rcpt = pw.CharField(320)
    subject = LongTextField(default="")
    created_ms = pw.BigIntegerField()
