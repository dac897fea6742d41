"""Addresses that are validated behind the answer."""

from peewee import *


class LongTextField(TextField):
    field_type = "LONGTEXT"


def up(migrator, db):
    class ValidationJob(Model):
        id = AutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField(index=True)
        domain_id = IntegerField(null=True)
        total = IntegerField()
        done = IntegerField()
        verdicts = LongTextField()
        due_ms = BigIntegerField(index=True, null=True)
        created_ms = BigIntegerField(index=True)
        ended_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "validation_job"

    class ValidationItem(Model):
        job_id = IntegerField()
        seq = IntegerField()
        email = CharField(max_length=1000)
        result = LongTextField(null=True)

        class Meta:
            database = db
            table_name = "validation_item"
            primary_key = CompositeKey("job_id", "seq")

    db.create_tables([ValidationJob, ValidationItem])


def down(migrator, db):
    migrator.migrate(migrator.drop_table("validation_item"))
    migrator.migrate(migrator.drop_table("validation_job"))
