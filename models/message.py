"""What a customer submitted once, and its content."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, MediumBlobField, Model

PART_SIZE = 512 * 1024
"""Bytes of one content part: a longer row holds the writer too long, or breaks max_allowed_packet."""


class Content(Model):
    """One body, shared by the messages that have the same bytes."""

    id = pw.BigAutoField()
    kind = pw.CharField(8)  # parts (a composed draft) | mime (as submitted)
    size = pw.BigIntegerField()  # bytes before packing
    codec = pw.SmallIntegerField()
    sha256 = pw.CharField(64)
    created_ms = pw.BigIntegerField(index=True)


class ContentPart(Model):
    content_id = pw.BigIntegerField()
    seq = pw.IntegerField()
    body = MediumBlobField()

    class Meta:
        primary_key = pw.CompositeKey("content_id", "seq")


class Message(Model):
    id = pw.BigAutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField()
    api_key_id = pw.IntegerField(null=True)
    smtp_login_id = pw.IntegerField(null=True)
    stream = pw.SmallIntegerField()
    live = pw.BooleanField(default=True)
    content_id = pw.BigIntegerField(index=True)
    from_addr = pw.CharField(320)
    subject = LongTextField()
    tags = LongTextField(default="[]")  # JSON list of texts
    headers = LongTextField()  # JSON: from, to, cc, reply_to, custom, defaults of the key
    metadata = LongTextField(null=True)  # JSON object, comes back in events
    size = pw.BigIntegerField()
    track_opens = pw.BooleanField()
    track_links = pw.BooleanField()
    send_at_ms = pw.BigIntegerField(null=True)
    created_ms = pw.BigIntegerField()
    verdicts = LongTextField(default="[]")  # what each gate decided at accept time, packed
    origin = pw.CharField(40, null=True)  # what sent it, `cmp:12`: its events are counted for that too

    class Meta:
        indexes = ((("domain_id", "id"), False),)


class IdempotencyKey(Model):
    scope = pw.CharField(96)  # account and endpoint
    key = pw.CharField(255)
    fingerprint = pw.CharField(64)
    message_id = pw.BigIntegerField(null=True)
    status = pw.SmallIntegerField(null=True)
    answer = LongTextField(null=True)
    created_ms = pw.BigIntegerField(index=True)

    class Meta:
        primary_key = pw.CompositeKey("scope", "key")
