"""Relays and providers that an account has connected, and what they were given in each window of their quotas."""

from peewee import *

from models.database import LongTextField


def up(migrator, db):
    class SendingServer(Model):
        id = AutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField(index=True)
        name = CharField(max_length=100)
        kind = CharField(max_length=16)
        config = LongTextField(default="{}")
        credentials = LongTextField(null=True)
        status = CharField(max_length=8, default="active")
        priority = IntegerField(default=10)
        weight = IntegerField(default=100)
        per_second = IntegerField(null=True)
        per_minute = IntegerField(null=True)
        per_hour = IntegerField(null=True)
        per_day = IntegerField(null=True)
        reports = BooleanField(default=False)
        hook_seen_ms = BigIntegerField(null=True)
        created_ms = BigIntegerField()
        updated_ms = BigIntegerField()
        deleted_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "sending_server"

    class ServerUsage(Model):
        server_id = IntegerField()
        span = IntegerField()
        start_ms = BigIntegerField()
        n = IntegerField()

        class Meta:
            database = db
            table_name = "server_usage"
            primary_key = CompositeKey("server_id", "span")

    db.create_tables([SendingServer, ServerUsage])


def down(migrator, db):
    for table in ("server_usage", "sending_server"):
        migrator.migrate(migrator.drop_table(table))
