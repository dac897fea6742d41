"""Campaigns, what came of them in numbers, and expansions that wait for a quota or a person."""

from peewee import *

from models.database import LongTextField

COLUMNS = {
    "expansion": {
        "metered": lambda: BooleanField(default=False),
        "paused": lambda: BooleanField(default=False),
        "resume_ms": lambda: BigIntegerField(default=0),
        "waiting": lambda: CharField(max_length=255, default=""),
    },
    "message": {"origin": lambda: CharField(max_length=40, null=True)},
}


def up(migrator, db):
    # MySQL commits with every change of a table: what a broken run has done already is left out of the next.
    for table, columns in COLUMNS.items():
        have = {column.name for column in db.get_columns(table)}
        for name, made in columns.items():
            if name not in have:
                migrator.migrate(migrator.add_column(table, name, made()))

    class Campaign(Model):
        id = AutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField()
        domain_id = IntegerField()
        live = BooleanField(default=True)
        name = CharField(max_length=255)
        state = CharField(max_length=12)
        content = LongTextField()
        list_id = IntegerField()
        scheduled_ms = BigIntegerField(null=True)
        message_id = BigIntegerField(null=True)
        recipients = IntegerField(default=0)
        cause = CharField(max_length=1000, default="")
        due_ms = BigIntegerField(null=True, index=True)
        created_ms = BigIntegerField()
        updated_ms = BigIntegerField()
        launched_ms = BigIntegerField(null=True)
        paused_ms = BigIntegerField(null=True)
        ended_ms = BigIntegerField(null=True)
        deleted_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "campaign"
            indexes = ((("account_id", "id"), False), (("account_id", "state", "id"), False))

    class Tally(Model):
        origin = CharField(max_length=40)
        facet = SmallIntegerField()
        value = CharField(max_length=190)
        kind = SmallIntegerField()
        n = BigIntegerField(default=0)

        class Meta:
            database = db
            table_name = "tally"
            primary_key = CompositeKey("origin", "facet", "value", "kind")
            without_rowid = isinstance(db, SqliteDatabase)

    db.create_tables([Campaign, Tally])


def down(migrator, db):
    for table in ("tally", "campaign"):
        migrator.migrate(migrator.drop_table(table))
    for table, columns in COLUMNS.items():
        for name in reversed(columns):
            migrator.migrate(migrator.drop_column(table, name))
