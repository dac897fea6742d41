"""The ways out that an account has connected, and the rules that choose among them."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class SendingServer(Model):
    """A relay or provider of an account; `weight` 0 takes only what a rule or a request sends it."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    name = pw.CharField(100)
    kind = pw.CharField(16)  # smtp | mx | ses | mailgun | sendgrid | resend | capture
    config = LongTextField(default="{}")  # JSON object: host, port, tls, region, domain, endpoint …
    credentials = LongTextField(null=True)  # sealed JSON object of texts
    status = pw.CharField(8, default="active")  # active | paused
    priority = pw.IntegerField(default=10)  # the lowest goes first
    weight = pw.IntegerField(default=100)  # its share among those of the same priority
    per_second = pw.IntegerField(null=True)  # messages; NULL: without limit
    per_minute = pw.IntegerField(null=True)
    per_hour = pw.IntegerField(null=True)
    per_day = pw.IntegerField(null=True)
    reports = pw.BooleanField(default=False)  # whether the provider's events come to our hook
    hook_seen_ms = pw.BigIntegerField(null=True)  # when the last one came
    created_ms = pw.BigIntegerField()
    updated_ms = pw.BigIntegerField()
    deleted_ms = pw.BigIntegerField(null=True)


class ServerUsage(Model):
    """How many messages a server was given in the window of `span` seconds that began at `start_ms`."""

    server_id = pw.IntegerField()
    span = pw.IntegerField()  # 1 | 60 | 3600 | 86400
    start_ms = pw.BigIntegerField()
    n = pw.IntegerField()

    class Meta:
        primary_key = pw.CompositeKey("server_id", "span")


class RoutingRule(Model):
    """Which servers take which mail of an account, or of one of its domains."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    domain_id = pw.IntegerField(null=True)  # NULL: mail of every domain
    name = pw.CharField(100)
    priority = pw.IntegerField(default=10)  # the lowest is asked first
    enabled = pw.BooleanField(default=True)
    match = LongTextField(default="{}")  # JSON object of conditions, all of which have to hold
    targets = LongTextField(default="[]")  # JSON list: a server or a kind of provider, priority and weight each
    created_ms = pw.BigIntegerField()
    updated_ms = pw.BigIntegerField()
