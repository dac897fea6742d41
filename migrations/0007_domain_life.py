"""Notices, the rotation of DKIM keys and the schedule of DNS checks."""

import time

from peewee import *

from models.database import LongTextField

SENDER_DOMAIN = {
    "next_check_ms": lambda: BigIntegerField(index=True, null=True),
    "pending_ms": lambda: BigIntegerField(null=True),
    "rotation_ms": lambda: BigIntegerField(null=True),
}
DKIM_KEY = {
    "in_dns": lambda: BooleanField(null=True),
    "seen_ms": lambda: BigIntegerField(null=True),
    "replaced_ms": lambda: BigIntegerField(null=True),
    "retire_ms": lambda: BigIntegerField(index=True, null=True),
    "retired_ms": lambda: BigIntegerField(null=True),
}


def up(migrator, db):
    class Notice(Model):
        id = BigAutoField()
        account_id = IntegerField()
        domain_id = IntegerField(null=True)
        kind = CharField(max_length=64)
        at_ms = BigIntegerField()
        data = LongTextField(default="{}")

        class Meta:
            database = db
            table_name = "notice"
            indexes = ((("account_id", "id"), False), (("domain_id", "id"), False))

    db.create_tables([Notice])
    # MySQL commits with every change of a table: what a broken run has done already is left out of the next.
    for table, columns in (("sender_domain", SENDER_DOMAIN), ("dkim_key", DKIM_KEY)):
        have = {column.name for column in db.get_columns(table)}
        for name, made in columns.items():
            if name not in have:
                migrator.migrate(migrator.add_column(table, name, made()))
    # Domains that are there are first checked over the next day, not all at once.
    now_ms = int(time.time() * 1000)
    db.execute_sql(
        f"UPDATE sender_domain SET next_check_ms = {now_ms} + (id & 1023) * 84000"
        " WHERE deleted_ms IS NULL AND next_check_ms IS NULL"
    )
    db.execute_sql("UPDATE sender_domain SET pending_ms = created_ms WHERE status = 'pending' AND pending_ms IS NULL")


def down(migrator, db):
    for table, columns in (("dkim_key", DKIM_KEY), ("sender_domain", SENDER_DOMAIN)):
        for name in reversed(columns):
            migrator.migrate(migrator.drop_column(table, name))
    migrator.migrate(migrator.drop_table("notice"))
