"""Rules that choose among the sending servers of an account."""

from peewee import *

from models.database import LongTextField


def up(migrator, db):
    class RoutingRule(Model):
        id = AutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField(index=True)
        domain_id = IntegerField(null=True)
        name = CharField(max_length=100)
        priority = IntegerField(default=10)
        enabled = BooleanField(default=True)
        match = LongTextField(default="{}")
        targets = LongTextField(default="[]")
        created_ms = BigIntegerField()
        updated_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "routing_rule"

    db.create_tables([RoutingRule])


def down(migrator, db):
    migrator.migrate(migrator.drop_table("routing_rule"))
