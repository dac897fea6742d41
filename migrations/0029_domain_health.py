"""How well domains are set up for sending: the last check of each, and the earlier ones."""

from peewee import *

from models.database import LongTextField


def up(migrator, db):
    class DomainHealth(Model):
        domain_id = IntegerField(primary_key=True)
        account_id = IntegerField()
        score = SmallIntegerField(null=True)
        findings = LongTextField(default="[]")
        checked_ms = BigIntegerField()
        due_ms = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "domain_health"

    class DomainHealthPast(Model):
        id = BigAutoField()
        domain_id = IntegerField()
        at_ms = BigIntegerField(index=True)
        score = SmallIntegerField(null=True)
        statuses = LongTextField(default="{}")

        class Meta:
            database = db
            table_name = "domain_health_past"
            indexes = ((("domain_id", "id"), False),)

    db.create_tables([DomainHealth, DomainHealthPast])


def down(migrator, db):
    for table in ("domain_health_past", "domain_health"):
        migrator.migrate(migrator.drop_table(table))
