"""Segments, double opt-in, counts of lists, files of subscribers, and when addresses last opened or clicked."""

from peewee import *

from models.database import LongTextField, MediumBlobField

COLUMNS = {
    "mail_list": {
        "kind": lambda: SmallIntegerField(default=1),
        "source_id": lambda: IntegerField(null=True),
        "conditions": lambda: LongTextField(null=True),
        "options": lambda: LongTextField(null=True),
    },
    "expansion": {"conditions": lambda: LongTextField(null=True)},
}
TABLES = (
    "engagement", "confirmation", "list_import_error", "list_import_part", "list_import", "list_count",
)  # fmt: skip


def up(migrator, db):
    # MySQL commits with every change of a table: what a broken run has done already is left out of the next.
    for table, columns in COLUMNS.items():
        have = {column.name for column in db.get_columns(table)}
        for name, made in columns.items():
            if name not in have:
                migrator.migrate(migrator.add_column(table, name, made()))

    class ListCount(Model):
        list_id = IntegerField()
        status = SmallIntegerField()
        n = IntegerField(default=0)

        class Meta:
            database = db
            table_name = "list_count"
            primary_key = CompositeKey("list_id", "status")
            without_rowid = isinstance(db, SqliteDatabase)

    class Confirmation(Model):
        subscriber_id = BigIntegerField(primary_key=True)
        account_id = IntegerField()
        list_id = IntegerField(index=True)
        due_ms = BigIntegerField(index=True, null=True)
        sent = IntegerField(default=0)
        sent_ms = BigIntegerField(null=True)
        cause = CharField(max_length=255, default="")

        class Meta:
            database = db
            table_name = "confirmation"

    class Engagement(Model):
        account_id = IntegerField()
        address = CharField(max_length=320)
        mark = CharField(max_length=200)
        delivered_ms = BigIntegerField(default=0)
        opened_ms = BigIntegerField(default=0)
        clicked_ms = BigIntegerField(default=0)
        bounced_ms = BigIntegerField(default=0)

        class Meta:
            database = db
            table_name = "engagement"
            primary_key = CompositeKey("account_id", "address", "mark")
            without_rowid = isinstance(db, SqliteDatabase)

    class ListImport(Model):
        id = AutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField()
        list_id = IntegerField(index=True)
        state = CharField(max_length=12)
        format = CharField(max_length=8)
        options = LongTextField(default="{}")
        size = BigIntegerField(default=0)
        total = IntegerField(default=0)
        reached = BigIntegerField(default=0)
        line = IntegerField(default=0)
        done = IntegerField(default=0)
        added = IntegerField(default=0)
        updated = IntegerField(default=0)
        unchanged = IntegerField(default=0)
        failed = IntegerField(default=0)
        cause = CharField(max_length=255, default="")
        due_ms = BigIntegerField(index=True, null=True)
        fence = IntegerField(default=0)
        created_ms = BigIntegerField(index=True)
        started_ms = BigIntegerField(null=True)
        ended_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "list_import"

    class ListImportPart(Model):
        import_id = IntegerField()
        seq = IntegerField()
        body = MediumBlobField()

        class Meta:
            database = db
            table_name = "list_import_part"
            primary_key = CompositeKey("import_id", "seq")

    class ListImportError(Model):
        import_id = IntegerField()
        line = IntegerField()
        seq = IntegerField()
        field = CharField(max_length=255)
        value = CharField(max_length=320)
        reason = CharField(max_length=255)

        class Meta:
            database = db
            table_name = "list_import_error"
            primary_key = CompositeKey("import_id", "line", "seq")

    db.create_tables([ListCount, Confirmation, Engagement, ListImport, ListImportPart, ListImportError])
    # Counted anew by a second run.
    db.execute_sql("DELETE FROM list_count")
    db.execute_sql(
        "INSERT INTO list_count (list_id, status, n) SELECT list_id, status, COUNT(*) FROM subscriber"
        " GROUP BY list_id, status"
    )


def down(migrator, db):
    for table in TABLES:
        migrator.migrate(migrator.drop_table(table))
    for table, columns in COLUMNS.items():
        for name in reversed(columns):
            migrator.migrate(migrator.drop_column(table, name))
