"""What came to a return path or complaint mailbox and is no event: kept for a while, for people to look at."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, MediumBlobField, Model


class InboundMail(Model):
    """`account_id` and `domain_id` are 0 where the mail names no delivery of anybody's."""

    id = pw.BigAutoField()
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField()
    message_id = pw.BigIntegerField(null=True, index=True)
    delivery_id = pw.BigIntegerField(null=True)
    kind = pw.CharField(16)  # auto_reply | letter | complaint | unrecognised
    rcpt = pw.CharField(320)
    mail_from = pw.CharField(320)
    header_from = pw.CharField(320)
    subject = LongTextField()
    size = pw.BigIntegerField()  # bytes before packing
    why = pw.CharField(255)
    refused = pw.BooleanField()  # the sender was told so, and this is a copy
    codec = pw.SmallIntegerField()
    created_ms = pw.BigIntegerField(index=True)

    class Meta:
        indexes = ((("account_id", "kind", "size"), False),)


class InboundMailPart(Model):
    inbound_mail_id = pw.BigIntegerField()
    seq = pw.IntegerField()
    body = MediumBlobField()

    class Meta:
        primary_key = pw.CompositeKey("inbound_mail_id", "seq")
