"""Webhooks for groups of domains and accounts, notices, secrets that overlap, replays and daily numbers."""

from peewee import *

from models.database import LongTextField

WEBHOOK = {
    "domain_ids": lambda: LongTextField(null=True),
    "notices": lambda: LongTextField(null=True),
    "test_events": lambda: BooleanField(default=False),
    "old_secret": lambda: TextField(null=True),
    "old_secret_until_ms": lambda: BigIntegerField(null=True),
    "failing_ms": lambda: BigIntegerField(null=True),
    "disabled_ms": lambda: BigIntegerField(null=True),
    "disabled_cause": lambda: CharField(max_length=255, null=True),
}


def up(migrator, db):
    # MySQL commits with every change of a table: what a broken run has done already is left out of the next.
    have = {column.name for column in db.get_columns("webhook")}
    for name, made in WEBHOOK.items():
        if name not in have:
            migrator.migrate(migrator.add_column("webhook", name, made()))
    if ("webhook_id", "state") not in {tuple(index.columns) for index in db.get_indexes("webhook_delivery")}:
        # Named like its neighbours, which statements name too.
        q = db.quote[0]
        db.execute_sql(
            f"CREATE INDEX {q}webhookdelivery_webhook_id_state{q} ON {q}webhook_delivery{q} ({q}webhook_id{q}, {q}state{q})"
        )

    class WebhookReplay(Model):
        id = AutoField()
        webhook_id = IntegerField(index=True)
        state = CharField(max_length=8)
        from_ms = BigIntegerField()
        to_ms = BigIntegerField()
        kinds = IntegerField()
        after = BigIntegerField(default=0)
        upto = BigIntegerField()
        replayed = IntegerField(default=0)
        created_ms = BigIntegerField()
        ended_ms = BigIntegerField(index=True, null=True)

        class Meta:
            database = db
            table_name = "webhook_replay"

    class WebhookCount(Model):
        webhook_id = IntegerField()
        day = IntegerField()
        calls = IntegerField()
        told = IntegerField()
        silent = IntegerField()
        sum_ms = BigIntegerField()
        most_ms = IntegerField()

        class Meta:
            database = db
            table_name = "webhook_count"
            primary_key = CompositeKey("webhook_id", "day")

    db.create_tables([WebhookReplay, WebhookCount])


def down(migrator, db):
    for table in ("webhook_count", "webhook_replay"):
        migrator.migrate(migrator.drop_table(table))
    migrator.migrate(migrator.drop_index("webhook_delivery", "webhookdelivery_webhook_id_state"))
    for name in reversed(WEBHOOK):
        migrator.migrate(migrator.drop_column("webhook", name))
