"""Mailboxes of a domain, the mail that came to them, and the groups that they send in."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, MediumBlobField, Model


class Mailbox(Model):
    """`messages` and `bytes` count what it holds; a deleted one is called `@` and its id until its mail is gone."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    domain_id = pw.IntegerField()
    local = pw.CharField(64)  # lower-case; with the domain's name it is the address
    display_name = pw.CharField(255, default="")
    messages = pw.IntegerField(default=0)
    bytes = pw.BigIntegerField(default=0)
    created_ms = pw.BigIntegerField()
    deleted_ms = pw.BigIntegerField(null=True, index=True)

    class Meta:
        indexes = ((("domain_id", "local"), True),)


class MailboxMessage(Model):
    """One mail in one mailbox; its bytes as they came are in `MailboxMessagePart`."""

    id = pw.BigAutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField()
    mailbox_id = pw.IntegerField()
    kind = pw.CharField(16)  # message | reply | auto_reply | report
    rcpt = pw.CharField(320)
    mail_from = pw.CharField(320)  # envelope sender
    header_from = pw.CharField(320)  # lower-case address
    from_name = pw.CharField(255)
    subject = LongTextField()
    preview = pw.CharField(255)
    attachments = pw.IntegerField()
    size = pw.BigIntegerField()  # bytes before packing
    codec = pw.SmallIntegerField()
    message_id = pw.BigIntegerField(null=True, index=True)  # of the message that it answers
    delivery_id = pw.BigIntegerField(null=True)
    found_by = pw.CharField(16)  # in_reply_to | references | return_path, '' without an answered message
    created_ms = pw.BigIntegerField()

    class Meta:
        indexes = ((("mailbox_id", "id"), False), (("account_id", "header_from"), False))


class MailboxMessagePart(Model):
    mailbox_message_id = pw.BigIntegerField()
    seq = pw.IntegerField()
    body = MediumBlobField()

    class Meta:
        primary_key = pw.CompositeKey("mailbox_message_id", "seq")


class SenderGroup(Model):
    """Mailboxes that send in turn, and whom they write to; `everything`: all of the domain, later ones too."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField(index=True)
    name = pw.CharField(255)
    everything = pw.BooleanField()
    turn = pw.BigIntegerField(default=0)  # messages that were sent through it
    created_ms = pw.BigIntegerField()
    updated_ms = pw.BigIntegerField()


class SenderGroupMailbox(Model):
    group_id = pw.IntegerField()
    mailbox_id = pw.IntegerField(index=True)

    class Meta:
        primary_key = pw.CompositeKey("group_id", "mailbox_id")


class SenderGroupEmail(Model):
    """Whom a group writes to; `address` is what is unique in it."""

    id = pw.BigAutoField()
    group_id = pw.IntegerField()
    email = pw.CharField(320)
    address = pw.CharField(320)  # normalised

    class Meta:
        indexes = ((("group_id", "address"), True),)
