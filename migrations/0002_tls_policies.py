"""MTA-STS policies of recipient domains, and the sender domains that insist on TLS."""

from peewee import *

from models.database import LongTextField


def up(migrator, db):
    class TlsPolicy(Model):
        domain = CharField(max_length=253, primary_key=True)
        policy_id = CharField(max_length=32)
        mode = CharField(max_length=8)
        mx = LongTextField()
        fetched_ms = BigIntegerField()
        expires_ms = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "tls_policy"

    db.create_tables([TlsPolicy])
    # MySQL commits with every change of a table: a run that broke off has done this part already.
    if "require_tls" not in {column.name for column in db.get_columns("sender_domain")}:
        migrator.migrate(migrator.add_column("sender_domain", "require_tls", BooleanField(null=True)))


def down(migrator, db):
    migrator.migrate(migrator.drop_column("sender_domain", "require_tls"))
    migrator.migrate(migrator.drop_table("tls_policy"))
