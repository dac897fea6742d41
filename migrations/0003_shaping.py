"""Limits on destinations, and why a delivery that is due waits nevertheless."""

from peewee import *

from models.database import LongTextField


def up(migrator, db):
    class Limit(Model):
        id = AutoField()
        scope = CharField(max_length=8)
        target = CharField(max_length=255)
        kind = CharField(max_length=12)
        value = IntegerField(default=0)
        cause = LongTextField(default="")
        rule = CharField(max_length=64, default="")
        origin = CharField(max_length=8)
        created_ms = BigIntegerField()
        changed_ms = BigIntegerField()
        until_ms = BigIntegerField(null=True)
        pinned = BooleanField(default=False)
        canceled_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "shaping_limit"
            indexes = ((("canceled_ms", "until_ms"), False),)

    db.create_tables([Limit])
    # MySQL commits with every change of a table: a run that broke off has done this part already.
    if "waiting" not in {column.name for column in db.get_columns("delivery")}:
        migrator.migrate(migrator.add_column("delivery", "waiting", LongTextField(null=True)))


def down(migrator, db):
    migrator.migrate(migrator.drop_column("delivery", "waiting"))
    migrator.migrate(migrator.drop_table("shaping_limit"))
