"""The tracking host and privacy of a domain, and how far spools of tracking hits have been written down."""

from peewee import *

SENDER_DOMAIN = {
    "tracking_host": lambda: CharField(max_length=253, null=True),
    "tracking_privacy": lambda: BooleanField(null=True),
}


def up(migrator, db):
    class HitSpool(Model):
        name = CharField(max_length=64, primary_key=True)
        done = BigIntegerField()
        at_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "hit_spool"

    db.create_tables([HitSpool])
    # MySQL commits with every change of a table: what a broken run has done already is left out of the next.
    have = {column.name for column in db.get_columns("sender_domain")}
    for name, made in SENDER_DOMAIN.items():
        if name not in have:
            migrator.migrate(migrator.add_column("sender_domain", name, made()))


def down(migrator, db):
    for name in reversed(SENDER_DOMAIN):
        migrator.migrate(migrator.drop_column("sender_domain", name))
    migrator.migrate(migrator.drop_table("hit_spool"))
