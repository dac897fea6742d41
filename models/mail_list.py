"""Lists of people, who stands on them, and how far a message to a whole list has got."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class MailList(Model):
    """A deleted list stays until no message that was accepted for it has people to come to."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    name = pw.CharField(255)
    created_ms = pw.BigIntegerField()
    updated_ms = pw.BigIntegerField()
    deleted_ms = pw.BigIntegerField(null=True)


class Subscriber(Model):
    """One address on one list; a removed one stays as long as a deleted list does."""

    id = pw.BigAutoField()
    list_id = pw.IntegerField()
    account_id = pw.IntegerField()
    email = pw.CharField(320)  # as it is written to
    address = pw.CharField(320)  # normalised: what is unique
    fields = LongTextField(default="{}")  # JSON object
    status = pw.SmallIntegerField()
    status_ms = pw.BigIntegerField()  # when the status last changed
    created_ms = pw.BigIntegerField()
    updated_ms = pw.BigIntegerField()

    class Meta:
        indexes = ((("list_id", "address"), True), (("list_id", "id"), False), (("list_id", "status", "id"), False))


class Expansion(Model):
    """A message to a list: deliveries are made from `reached` on, in batches that move it in their own transaction."""

    message_id = pw.BigIntegerField(primary_key=True)
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField()
    list_id = pw.IntegerField(index=True)
    lane_id = pw.IntegerField()
    reached = pw.BigIntegerField(default=0)  # the last subscriber that was dealt with
    upto = pw.BigIntegerField()  # the last one at accept time
    total = pw.IntegerField()  # active ones at accept time
    made = pw.IntegerField(default=0)  # deliveries so far
    due_ms = pw.BigIntegerField()  # of the deliveries
    expires_ms = pw.BigIntegerField()
    accepted_ms = pw.BigIntegerField()
    ends_as = pw.SmallIntegerField(null=True)  # the state of deliveries made after the message was taken back
    end_reason = pw.CharField(255, default="")
    done_ms = pw.BigIntegerField(null=True, index=True)
    metered = pw.BooleanField(default=False)  # the quota is spent batch by batch, and waited for
    paused = pw.BooleanField(default=False)
    resume_ms = pw.BigIntegerField(default=0)  # not before
    waiting = pw.CharField(255, default="")  # what is waited for
