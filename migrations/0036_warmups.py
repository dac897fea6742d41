"""Senders that begin small: what each may send on a day, what was given to whom, and the days that were."""

from peewee import *


def up(migrator, db):
    class Warmup(Model):
        id = AutoField()
        account_id = IntegerField(default=0)
        domain_id = IntegerField(default=0)
        mailbox_id = IntegerField(default=0)
        source = CharField(max_length=45, default="")
        provider = CharField(default="")
        goal = IntegerField()
        day = IntegerField()
        day_limit = IntegerField()
        used = IntegerField(default=0)
        reason = CharField(default="")
        done_ms = BigIntegerField(null=True)
        created_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "warmup"
            indexes = ((("mailbox_id", "source", "provider"), True), (("done_ms",), False), (("domain_id",), False))

    class WarmupGrant(Model):
        warmup_id = IntegerField()
        delivery_id = BigIntegerField()
        day = IntegerField(index=True)

        class Meta:
            database = db
            table_name = "warmup_grant"
            primary_key = CompositeKey("warmup_id", "delivery_id")

    class WarmupDay(Model):
        warmup_id = IntegerField()
        day = IntegerField(index=True)
        day_limit = IntegerField()
        used = IntegerField()

        class Meta:
            database = db
            table_name = "warmup_day"
            primary_key = CompositeKey("warmup_id", "day")

    db.create_tables([Warmup, WarmupGrant, WarmupDay])


def down(migrator, db):
    for table in ("warmup_day", "warmup_grant", "warmup"):
        migrator.migrate(migrator.drop_table(table))
