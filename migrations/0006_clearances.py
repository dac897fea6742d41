"""Queues that were cleared, or whose domain was deleted, and are not ended to their last delivery yet."""

from peewee import *

from models.database import LongTextField


def up(migrator, db):
    class Clearance(Model):
        id = AutoField()
        account_id = IntegerField()
        domain_id = IntegerField()
        upto = BigIntegerField()
        spared = LongTextField(default="[]")
        state = SmallIntegerField()
        reason = CharField(max_length=255)
        created_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "clearance"

    db.create_tables([Clearance])


def down(migrator, db):
    migrator.migrate(migrator.drop_table("clearance"))
