"""Lists of people and parts of them, who stands on them, and how far a message to one has got."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model
from models.vocabulary import ListKind


class MailList(Model):
    """A list or a segment; a deleted one stays until no message that was accepted for it has people to come to."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    name = pw.CharField(255)
    created_ms = pw.BigIntegerField()
    updated_ms = pw.BigIntegerField()
    deleted_ms = pw.BigIntegerField(null=True)
    kind = pw.SmallIntegerField(default=int(ListKind.LIST))
    source_id = pw.IntegerField(null=True)  # of a segment: the list that it is a part of
    conditions = LongTextField(null=True)  # of a segment: JSON, who of the list is in it
    options = LongTextField(null=True)  # of a list: JSON object, its double opt-in


class ListCount(Model):
    """How many of a list have a status; changed with the rows that it counts."""

    list_id = pw.IntegerField()
    status = pw.SmallIntegerField()
    n = pw.IntegerField(default=0)

    class Meta:
        primary_key = pw.CompositeKey("list_id", "status")
        without_rowid = True


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
    conditions = LongTextField(null=True)  # of the segment, as they were at accept time
    metered = pw.BooleanField(default=False)  # the quota is spent batch by batch, and waited for
    paused = pw.BooleanField(default=False)
    resume_ms = pw.BigIntegerField(default=0)  # not before
    waiting = pw.CharField(255, default="")  # what is waited for


class Confirmation(Model):
    """A subscriber who is asked whether it was they; `due_ms` is when the next mail goes, NULL when none waits."""

    subscriber_id = pw.BigIntegerField(primary_key=True)
    account_id = pw.IntegerField()
    list_id = pw.IntegerField(index=True)
    due_ms = pw.BigIntegerField(null=True, index=True)
    sent = pw.IntegerField(default=0)  # mails so far
    sent_ms = pw.BigIntegerField(null=True)  # the last of them
    cause = pw.CharField(255, default="")  # why the one that waits has not gone yet
    live = pw.BooleanField(null=True, default=True, constraints=[pw.SQL("DEFAULT 1")])  # False: a test key asks


class Engagement(Model):
    """When an address last got, opened, clicked or bounced mail of an account; filled behind the hot path."""

    account_id = pw.IntegerField()
    address = pw.CharField(320)  # normalised
    mark = pw.CharField(200)  # '' any message, else `tag:…`, or the origin of the message
    delivered_ms = pw.BigIntegerField(default=0)
    opened_ms = pw.BigIntegerField(default=0)  # by a person as far as is known
    clicked_ms = pw.BigIntegerField(default=0)
    bounced_ms = pw.BigIntegerField(default=0)

    class Meta:
        primary_key = pw.CompositeKey("account_id", "address", "mark")
        without_rowid = True
