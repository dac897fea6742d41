"""Keys for several domains, for a service, and with a successor while they are rotated."""

from peewee import *

from models.database import LongTextField

API_KEY = {
    "domain_ids": lambda: LongTextField(null=True),
    "service": lambda: CharField(max_length=64, null=True),
    "successor_id": lambda: IntegerField(null=True),
}


def up(migrator, db):
    # MySQL commits with every change of a table: what a broken run has done already is left out of the next.
    have = {column.name for column in db.get_columns("api_key")}
    for name, made in API_KEY.items():
        if name not in have:
            migrator.migrate(migrator.add_column("api_key", name, made()))


def down(migrator, db):
    for name in reversed(API_KEY):
        migrator.migrate(migrator.drop_column("api_key", name))
