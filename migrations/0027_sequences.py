"""Sequences of emails and who goes through them."""

from peewee import *

from models.database import LongTextField


def up(migrator, db):
    class Sequence(Model):
        id = AutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField(index=True)
        domain_id = IntegerField(index=True)
        mailbox_id = IntegerField()
        name = CharField()
        steps = LongTextField()
        live = BooleanField(default=True)
        status = CharField(max_length=12)
        cause = CharField(default="")
        sent = BigIntegerField(default=0)
        next_due_ms = BigIntegerField(index=True, null=True)
        created_ms = BigIntegerField()
        updated_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "sequence"

    class Enrolment(Model):
        id = BigAutoField()
        uuid = BinaryUUIDField(unique=True)
        sequence_id = IntegerField()
        account_id = IntegerField()
        email = CharField(max_length=320)
        address = CharField(max_length=320)
        active_address = CharField(max_length=320, null=True)
        fields = LongTextField(default="{}")
        status = SmallIntegerField()
        step = IntegerField(default=0)
        due_ms = BigIntegerField(null=True)
        thread = LongTextField(default="[]")
        subject = LongTextField(default="")
        cause = CharField(default="")
        created_ms = BigIntegerField()
        ended_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "enrolment"
            indexes = (
                (("sequence_id", "active_address"), True),
                (("sequence_id", "due_ms"), False),
                (("sequence_id", "status", "id"), False),
                (("sequence_id", "address"), False),
                (("account_id", "address"), False),
            )

    db.create_tables([Sequence, Enrolment])


def down(migrator, db):
    for table in ("enrolment", "sequence"):
        migrator.migrate(migrator.drop_table(table))
