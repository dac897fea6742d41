"""Whether a plan includes events and risk on the customer surface."""

from peewee import *

NAMES = ("events", "risk")


def up(migrator, db):
    have = {column.name for column in db.get_columns("plan")}
    for name in NAMES:
        if name not in have:
            migrator.migrate(migrator.add_column("plan", name, IntegerField(null=True)))


def down(migrator, db):
    for name in reversed(NAMES):
        migrator.migrate(migrator.drop_column("plan", name))
