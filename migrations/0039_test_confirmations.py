"""Whether a question for a confirmation, and an import, are of a test key."""

from peewee import *

TABLES = ("confirmation", "list_import")


def up(migrator, db):
    # MySQL commits with every change of a table: what a broken run has done already is left out of the next.
    for table in TABLES:
        if "live" not in {column.name for column in db.get_columns(table)}:
            # With the store's own default: a process of the version before does not name the column.
            live = BooleanField(null=True, constraints=[SQL("DEFAULT 1")])
            migrator.migrate(migrator.add_column(table, "live", live))


def down(migrator, db):
    for table in reversed(TABLES):
        migrator.migrate(migrator.drop_column(table, "live"))
