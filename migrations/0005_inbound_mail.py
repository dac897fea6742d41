"""Mail to return paths and complaint mailboxes that is no event."""

from peewee import *

from models.database import LongTextField, MediumBlobField


def up(migrator, db):
    class InboundMail(Model):
        id = BigAutoField()
        account_id = IntegerField()
        domain_id = IntegerField()
        message_id = BigIntegerField(index=True, null=True)
        delivery_id = BigIntegerField(null=True)
        kind = CharField(max_length=16)
        rcpt = CharField(max_length=320)
        mail_from = CharField(max_length=320)
        header_from = CharField(max_length=320)
        subject = LongTextField()
        size = BigIntegerField()
        why = CharField()
        refused = BooleanField()
        codec = SmallIntegerField()
        created_ms = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "inbound_mail"
            indexes = ((("account_id", "kind", "size"), False),)

    db.create_tables([InboundMail])

    class InboundMailPart(Model):
        inbound_mail_id = BigIntegerField()
        seq = IntegerField()
        body = MediumBlobField()

        class Meta:
            database = db
            table_name = "inbound_mail_part"
            primary_key = CompositeKey("inbound_mail_id", "seq")

    db.create_tables([InboundMailPart])


def down(migrator, db):
    migrator.migrate(migrator.drop_table("inbound_mail_part"))
    migrator.migrate(migrator.drop_table("inbound_mail"))
