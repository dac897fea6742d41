"""Mailboxes, the mail in them and the groups that they send in."""

from peewee import *

from models.database import LongTextField, MediumBlobField


def up(migrator, db):
    class Mailbox(Model):
        id = AutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField(index=True)
        domain_id = IntegerField()
        local = CharField(max_length=64)
        display_name = CharField(default="")
        messages = IntegerField(default=0)
        bytes = BigIntegerField(default=0)
        created_ms = BigIntegerField()
        deleted_ms = BigIntegerField(index=True, null=True)

        class Meta:
            database = db
            table_name = "mailbox"
            indexes = ((("domain_id", "local"), True),)

    class MailboxMessage(Model):
        id = BigAutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField()
        domain_id = IntegerField()
        mailbox_id = IntegerField()
        kind = CharField(max_length=16)
        rcpt = CharField(max_length=320)
        mail_from = CharField(max_length=320)
        header_from = CharField(max_length=320)
        from_name = CharField()
        subject = LongTextField()
        preview = CharField()
        attachments = IntegerField()
        size = BigIntegerField()
        codec = SmallIntegerField()
        message_id = BigIntegerField(index=True, null=True)
        delivery_id = BigIntegerField(null=True)
        found_by = CharField(max_length=16)
        created_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "mailbox_message"
            indexes = ((("mailbox_id", "id"), False), (("account_id", "header_from"), False))

    class MailboxMessagePart(Model):
        mailbox_message_id = BigIntegerField()
        seq = IntegerField()
        body = MediumBlobField()

        class Meta:
            database = db
            table_name = "mailbox_message_part"
            primary_key = CompositeKey("mailbox_message_id", "seq")

    class SenderGroup(Model):
        id = AutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField()
        domain_id = IntegerField(index=True)
        name = CharField()
        everything = BooleanField()
        turn = BigIntegerField(default=0)
        created_ms = BigIntegerField()
        updated_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "sender_group"

    class SenderGroupMailbox(Model):
        group_id = IntegerField()
        mailbox_id = IntegerField(index=True)

        class Meta:
            database = db
            table_name = "sender_group_mailbox"
            primary_key = CompositeKey("group_id", "mailbox_id")

    class SenderGroupEmail(Model):
        id = BigAutoField()
        group_id = IntegerField()
        email = CharField(max_length=320)
        address = CharField(max_length=320)

        class Meta:
            database = db
            table_name = "sender_group_email"
            indexes = ((("group_id", "address"), True),)

    db.create_tables([Mailbox, MailboxMessage, MailboxMessagePart, SenderGroup, SenderGroupMailbox, SenderGroupEmail])


def down(migrator, db):
    for table in (
        "sender_group_email", "sender_group_mailbox", "sender_group", "mailbox_message_part", "mailbox_message",
        "mailbox",
    ):  # fmt: skip
        migrator.migrate(migrator.drop_table(table))
