"""Suppressions say which rule and host made them; an allow-list, strikes and a record of what was undone."""

from peewee import *

from models.database import LongTextField


def up(migrator, db):
    for name, length in (("rule", 64), ("mx", 255)):
        if name not in {column.name for column in db.get_columns("suppression")}:
            migrator.migrate(migrator.add_column("suppression", name, CharField(max_length=length, default="")))
    db.execute_sql("UPDATE suppression SET rule = reason WHERE rule = ''")
    known = {tuple(index.columns) for index in db.get_indexes("suppression")}
    for columns in (("account_id", "id"), ("created_ms",)):
        if columns not in known:
            migrator.migrate(migrator.add_index("suppression", columns))

    class Allowed(Model):
        id = BigAutoField()
        account_id = IntegerField()
        domain_id = IntegerField(default=0)
        address = CharField(max_length=320)
        note = CharField(default="")
        created_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "allowed"
            indexes = ((("account_id", "address", "domain_id"), True),)

    class Strike(Model):
        account_id = IntegerField()
        address = CharField(max_length=320)
        day = IntegerField(index=True)
        kind = CharField(max_length=24)

        class Meta:
            database = db
            table_name = "strike"
            primary_key = CompositeKey("account_id", "address", "day")

    class SuppressionUndo(Model):
        id = BigAutoField()
        account_id = IntegerField(index=True)
        domain_id = IntegerField(null=True)
        by_whom = CharField(max_length=254)
        rules = CharField()
        mx = LongTextField(default="")
        from_ms = BigIntegerField()
        to_ms = BigIntegerField()
        removed = IntegerField(default=0)
        started_ms = BigIntegerField()
        ended_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "suppression_undo"

    db.create_tables([Allowed, Strike, SuppressionUndo])
