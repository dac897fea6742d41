"""Sequences of emails and who goes through them."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Sequence(Model):
    """`next_due_ms` is when the next step of anybody in it is due, or a worker's lease; none while it is paused."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    domain_id = pw.IntegerField(index=True)
    mailbox_id = pw.IntegerField()
    name = pw.CharField(255)
    steps = LongTextField()  # JSON list of {type, subject, html, text} and {type, delayMs}
    live = pw.BooleanField(default=True)  # False: made with a test key
    status = pw.CharField(12)  # active | paused | completed
    cause = pw.CharField(255, default="")  # why it was paused, where nobody asked for it
    sent = pw.BigIntegerField(default=0)
    next_due_ms = pw.BigIntegerField(null=True, index=True)
    created_ms = pw.BigIntegerField()
    updated_ms = pw.BigIntegerField()


class Enrolment(Model):
    """One person on the way through a sequence: `step` is the next one, due at `due_ms`; none once it has ended."""

    id = pw.BigAutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    sequence_id = pw.IntegerField()
    account_id = pw.IntegerField()
    email = pw.CharField(320)  # as it is written to
    address = pw.CharField(320)  # normalised
    active_address = pw.CharField(320, null=True)  # = address while active: once in a sequence
    fields = LongTextField(default="{}")  # JSON object
    status = pw.SmallIntegerField()
    step = pw.IntegerField(default=0)
    due_ms = pw.BigIntegerField(null=True)
    thread = LongTextField(default="[]")  # JSON list: the UUIDs of the messages so far
    subject = LongTextField(default="")  # of the last one
    cause = pw.CharField(255, default="")
    created_ms = pw.BigIntegerField()
    ended_ms = pw.BigIntegerField(null=True)

    class Meta:
        indexes = (
            (("sequence_id", "active_address"), True),
            (("sequence_id", "due_ms"), False),
            (("sequence_id", "status", "id"), False),
            (("sequence_id", "address"), False),
            (("account_id", "address"), False),
        )
