"""What providers told our hooks, the tokens of signatures that were used, and what was handed over without word."""

from peewee import *

from models.database import LongTextField


def up(migrator, db):
    class ProviderEvent(Model):
        id = BigAutoField()
        server_id = IntegerField()
        foreign_id = CharField(max_length=190)
        account_id = IntegerField()
        message_id = BigIntegerField(index=True, null=True)
        delivery_id = BigIntegerField(null=True)
        type = CharField(max_length=64)
        kind = SmallIntegerField(null=True)
        what = CharField(max_length=12)
        at_ms = BigIntegerField()
        raw = LongTextField()
        created_ms = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "provider_event"
            indexes = ((("server_id", "foreign_id"), True), (("account_id", "delivery_id"), False))

    class HookNonce(Model):
        server_id = IntegerField()
        nonce = CharField(max_length=100)
        digest = CharField(max_length=64)
        created_ms = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "hook_nonce"
            primary_key = CompositeKey("server_id", "nonce")

    class HandedOver(Model):
        delivery_id = BigIntegerField(primary_key=True)
        transport = CharField(max_length=64)
        at_ms = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "handed_over"

    db.create_tables([ProviderEvent, HookNonce, HandedOver])


def down(migrator, db):
    for table in ("handed_over", "hook_nonce", "provider_event"):
        migrator.migrate(migrator.drop_table(table))
