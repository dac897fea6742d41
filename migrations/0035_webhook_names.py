"""What the owners of webhooks call them."""

from peewee import *


def up(migrator, db):
    if "name" not in {column.name for column in db.get_columns("webhook")}:
        migrator.migrate(migrator.add_column("webhook", "name", CharField(max_length=255, null=True)))


def down(migrator, db):
    migrator.migrate(migrator.drop_column("webhook", "name"))
