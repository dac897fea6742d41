"""API keys of every surface."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model, ScratchModel


class ApiKey(Model):
    """`domain_id` NULL: the account's own key; else a sender key of one domain."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    domain_id = pw.IntegerField(null=True, index=True)
    surface = pw.CharField(16)
    scopes = LongTextField(default="[]")  # JSON list; [] means all of the surface
    live = pw.BooleanField(default=True)
    strict = pw.BooleanField(default=False)
    fingerprint = pw.CharField(64, unique=True)  # hex HMAC-SHA256 with the pepper
    prefix = pw.CharField(32)
    sealed = pw.TextField(null=True)  # only where the key must be shown again
    description = pw.CharField(255, default="")
    list_id = pw.CharField(64, null=True)
    subscriber_id = pw.CharField(64, null=True)
    journey_id = pw.CharField(64, null=True)
    action_id = pw.CharField(64, null=True)
    created_ms = pw.BigIntegerField()
    expires_ms = pw.BigIntegerField(null=True)
    revoked_ms = pw.BigIntegerField(null=True)
    domain_ids = LongTextField(null=True)  # JSON list: it holds for these of the account's domains, `domain_id` is NULL
    service = pw.CharField(64, null=True)  # what it was made for
    successor_id = pw.IntegerField(null=True)  # the key that takes its place; until `expires_ms` both work


class KeyUse(ScratchModel):
    """When a key was last used; kept beside the hot path."""

    key_id = pw.IntegerField(primary_key=True)
    used_ms = pw.BigIntegerField()


class KeyDay(ScratchModel):
    """What a key was used for on one day."""

    key_id = pw.IntegerField()
    day = pw.IntegerField()  # days since 1970-01-01, UTC
    calls = pw.BigIntegerField()  # authenticated requests
    sends = pw.BigIntegerField()  # accepted messages

    class Meta:
        primary_key = pw.CompositeKey("key_id", "day")
