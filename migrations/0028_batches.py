"""Campaign sends, and when each address was put on the suppression list: a time that no other of its account has."""

from peewee import *

from models.database import LongTextField

# Of several at one time each is moved on until its time is free, in the order in which they came.
LISTED = (
    "SELECT id, rn + MAX(created_ms - rn) OVER (PARTITION BY account_id ORDER BY rn) AS listed FROM"
    " (SELECT id, account_id, created_ms, ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY created_ms, id) AS rn"
    " FROM suppression) numbered"
)
FILL = {
    "`": f"UPDATE suppression s JOIN ({LISTED}) t ON t.id = s.id SET s.listed_ms = t.listed WHERE s.listed_ms IS NULL",
    '"': f"UPDATE suppression SET listed_ms = t.listed FROM ({LISTED}) t WHERE t.id = suppression.id",
}


def up(migrator, db):
    class Batch(Model):
        id = BigAutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField()
        domain_id = IntegerField()
        from_addr = CharField(max_length=320)
        subject = LongTextField()
        recipients = IntegerField()
        blocked = IntegerField()
        send_at_ms = BigIntegerField(null=True)
        created_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "batch"
            indexes = ((("domain_id", "id"), False),)

    db.create_tables([Batch])
    # MySQL commits with every change of a table: what a broken run has done already is left out of the next.
    if "listed_ms" not in {column.name for column in db.get_columns("suppression")}:
        migrator.migrate(migrator.add_column("suppression", "listed_ms", BigIntegerField(null=True)))
    q = db.quote[0]
    db.execute_sql(FILL[q])
    if ("account_id", "listed_ms") not in {tuple(index.columns) for index in db.get_indexes("suppression")}:
        db.execute_sql(
            f"CREATE INDEX {q}suppression_account_id_listed_ms{q} ON {q}suppression{q}"
            f" ({q}account_id{q}, {q}listed_ms{q})"
        )


def down(migrator, db):
    migrator.migrate(migrator.drop_index("suppression", "suppression_account_id_listed_ms"))
    migrator.migrate(migrator.drop_column("suppression", "listed_ms"))
    migrator.migrate(migrator.drop_table("batch"))
