"""When the server logged an event, how far what has run out was taken out, and addresses that are erased."""

from peewee import *


def up(migrator, db):
    # MySQL commits with every change of a table: what a broken run has done already is left out of the next.
    if "logged_ms" not in {column.name for column in db.get_columns("event")}:
        migrator.migrate(migrator.add_column("event", "logged_ms", BigIntegerField(null=True)))

    class RetentionMark(Model):
        domain_id = IntegerField()
        part = SmallIntegerField()
        message_id = BigIntegerField()

        class Meta:
            database = db
            table_name = "retention_mark"
            primary_key = CompositeKey("domain_id", "part")

    class RetentionDue(Model):
        message_id = BigIntegerField()
        part = SmallIntegerField()
        due_ms = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "retention_due"
            primary_key = CompositeKey("message_id", "part")

    class Erasure(Model):
        id = BigAutoField()
        account_id = IntegerField(index=True)
        pseudonym = CharField(max_length=64)
        sealed = TextField(null=True)
        after = BigIntegerField(default=0)
        upto = BigIntegerField()
        deliveries = IntegerField(default=0)
        created_ms = BigIntegerField()
        ended_ms = BigIntegerField(index=True, null=True)

        class Meta:
            database = db
            table_name = "erasure"

    db.create_tables([RetentionMark, RetentionDue, Erasure])


def down(migrator, db):
    for table in ("erasure", "retention_due", "retention_mark"):
        migrator.migrate(migrator.drop_table(table))
    migrator.migrate(migrator.drop_column("event", "logged_ms"))
