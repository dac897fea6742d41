"""Whether links of plain text are tracked, and whether messages have a link that no reader sees."""

from peewee import *

OPTIONS = ("text_link_tracking", "honeypot_link")


def up(migrator, db):
    # MySQL commits with every change of a table: what a broken run has done already is left out of the next.
    have = {column.name for column in db.get_columns("sender_domain")}
    for name in OPTIONS:
        if name not in have:
            migrator.migrate(migrator.add_column("sender_domain", name, BooleanField(null=True)))


def down(migrator, db):
    for name in reversed(OPTIONS):
        migrator.migrate(migrator.drop_column("sender_domain", name))
