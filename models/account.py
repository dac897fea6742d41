"""Who owns things: plans, accounts and their sessions."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Plan(Model):
    """Limits by name; NULL means without limit."""

    id = pw.AutoField()
    name = pw.CharField(64, unique=True)
    max_domains = pw.IntegerField(null=True)
    max_webhooks = pw.IntegerField(null=True)
    requests = pw.IntegerField(null=True)  # per key in `request_window` seconds
    request_window = pw.IntegerField(default=60)
    emails_minute = pw.IntegerField(null=True)
    emails_hour = pw.IntegerField(null=True)
    emails_day = pw.IntegerField(null=True)
    emails_month = pw.IntegerField(null=True)
    max_to = pw.IntegerField(null=True)
    max_cc = pw.IntegerField(null=True)
    max_bcc = pw.IntegerField(null=True)
    max_reply_to = pw.IntegerField(null=True)
    max_size = pw.IntegerField(null=True)  # bytes of one message
    events = pw.IntegerField(null=True)  # 0: the customer surface tells no events
    risk = pw.IntegerField(null=True)  # 0: nor assesses risk


class Account(Model):
    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    email = pw.CharField(254, unique=True)
    name = pw.CharField(200, default="")
    slug = pw.CharField(64, unique=True)
    password_hash = pw.CharField(200, default="")
    role = pw.CharField(16, default="user")
    status = pw.CharField(16, default="active")
    plan_id = pw.IntegerField(index=True)
    tfa_secret = pw.TextField(null=True)  # sealed
    options = LongTextField(default="{}")  # JSON: numeric_ids, strict_names …
    created_ms = pw.BigIntegerField()


class Session(Model):
    id = pw.BigAutoField()
    token_hash = pw.CharField(64, unique=True)
    account_id = pw.IntegerField(index=True)
    created_ms = pw.BigIntegerField()
    expires_ms = pw.BigIntegerField(index=True)


class QuotaUsage(Model):
    """Emails accepted by an account in one period, e.g. `month:2026-11`; only for limited plans."""

    account_id = pw.IntegerField()
    period = pw.CharField(32)
    n = pw.BigIntegerField(default=0)

    class Meta:
        primary_key = pw.CompositeKey("account_id", "period")
