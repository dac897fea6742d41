"""Webhook endpoints and what is to be told to them."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Webhook(Model):
    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    domain_id = pw.IntegerField(null=True, index=True)  # NULL: hears of `domain_ids`, or of the whole account
    surface = pw.CharField(16)  # whose payload it gets: one of `services.webhook_payload.SURFACES`
    url = pw.TextField()
    events = LongTextField()  # JSON list of event words as the creator spelled them
    kinds = pw.IntegerField()  # bit mask of 1 << EventKind
    secret = pw.TextField()  # sealed whsec_…
    status = pw.CharField(16, default="active")  # active | disabled
    lane_id = pw.IntegerField()
    busy_until_ms = pw.BigIntegerField(default=0)  # one worker talks to an endpoint at a time; its lease ends here
    strikes = pw.IntegerField(default=0)  # calls in a row that did not reach the endpoint
    last_code = pw.SmallIntegerField(null=True)
    last_ms = pw.BigIntegerField(null=True)
    last_tries = pw.IntegerField(default=0)
    created_ms = pw.BigIntegerField()
    deleted_ms = pw.BigIntegerField(null=True)
    domain_ids = LongTextField(null=True)  # JSON list: the group of domains that it hears of
    notices = LongTextField(null=True)  # JSON list of the kinds of notices that it hears of
    test_events = pw.BooleanField(default=False)  # whether it hears of messages of test keys
    old_secret = pw.TextField(null=True)  # sealed; signs beside the new one until `old_secret_until_ms`
    old_secret_until_ms = pw.BigIntegerField(null=True)
    failing_ms = pw.BigIntegerField(null=True)  # since when no call has succeeded
    disabled_ms = pw.BigIntegerField(null=True)
    disabled_cause = pw.CharField(255, null=True)
    name = pw.CharField(255, null=True)  # what its owner calls it


class WebhookDelivery(Model):
    """One event for one endpoint; `due_ms` NULL once told or given up.

    A notice has its number with a minus as `event_id`, and that of its domain (or 0) with a minus as `message_id`:
    those of one domain are told in order too. A sample of `services.webhook_tests` has 0 in both.
    """

    id = pw.BigAutoField()
    uuid = pw.BinaryUUIDField(unique=True)  # the webhook-id, the same on every retry
    webhook_id = pw.IntegerField()
    message_id = pw.BigIntegerField()
    event_id = pw.BigIntegerField()
    state = pw.CharField(8, default="live")  # live | told | dead | skipped (of a test key, and not asked for)
    due_ms = pw.BigIntegerField(null=True)
    fence = pw.IntegerField(default=0)
    attempts = pw.IntegerField(default=0)  # since it was made or last replayed
    last_code = pw.SmallIntegerField(null=True)
    last_error = LongTextField(default="")
    created_ms = pw.BigIntegerField()

    class Meta:
        indexes = (
            (("webhook_id", "due_ms"), False),
            (("webhook_id", "message_id", "id"), False),
            (("webhook_id", "state"), False),
        )
        constraints = [pw.Check("(state = 'live') = (due_ms IS NOT NULL)")]


class WebhookAttempt(Model):
    id = pw.BigAutoField()
    webhook_delivery_id = pw.BigIntegerField(index=True)
    no = pw.IntegerField()
    code = pw.SmallIntegerField(null=True)
    error = pw.CharField(255, default="")
    answer = LongTextField(default="")  # first 4 kB
    started_ms = pw.BigIntegerField()
    ms = pw.IntegerField()


class WebhookReplay(Model):
    """Deliveries of one webhook that are told once more, piece by piece: those up to `upto` that fit."""

    id = pw.AutoField()
    webhook_id = pw.IntegerField(index=True)
    state = pw.CharField(8)  # of the deliveries: dead | told
    from_ms = pw.BigIntegerField()
    to_ms = pw.BigIntegerField()
    kinds = pw.IntegerField()  # bit mask of 1 << EventKind; 0: everything
    after = pw.BigIntegerField(default=0)  # the last id that was looked at
    upto = pw.BigIntegerField()
    replayed = pw.IntegerField(default=0)
    created_ms = pw.BigIntegerField()
    ended_ms = pw.BigIntegerField(null=True, index=True)


class WebhookCount(Model):
    """The calls of one webhook on one day."""

    webhook_id = pw.IntegerField()
    day = pw.IntegerField()  # since 1970-01-01 UTC
    calls = pw.IntegerField()
    told = pw.IntegerField()  # answered 2xx
    silent = pw.IntegerField()  # not answered at all
    sum_ms = pw.BigIntegerField()  # of those that were answered
    most_ms = pw.IntegerField()

    class Meta:
        primary_key = pw.CompositeKey("webhook_id", "day")
