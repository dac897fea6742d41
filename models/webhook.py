"""Webhook endpoints and what is to be told to them."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Webhook(Model):
    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    domain_id = pw.IntegerField(null=True, index=True)
    surface = pw.CharField(16)  # whose payload and signature it gets
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


class WebhookDelivery(Model):
    """One event for one endpoint; `due_ms` NULL once told or given up."""

    id = pw.BigAutoField()
    uuid = pw.BinaryUUIDField(unique=True)  # the webhook-id, the same on every retry
    webhook_id = pw.IntegerField()
    message_id = pw.BigIntegerField()
    event_id = pw.BigIntegerField()
    state = pw.CharField(8, default="live")  # live | told | dead
    due_ms = pw.BigIntegerField(null=True)
    fence = pw.IntegerField(default=0)
    attempts = pw.IntegerField(default=0)
    last_code = pw.SmallIntegerField(null=True)
    last_error = LongTextField(default="")
    created_ms = pw.BigIntegerField()

    class Meta:
        indexes = (
            (("webhook_id", "due_ms"), False),
            (("webhook_id", "message_id", "id"), False),
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
