"""Tracking domains of accounts, and whether the links of a sender domain go over TLS."""

from peewee import *

SENDER_DOMAIN = {
    "tracking_tls": lambda: BooleanField(null=True),
}


def up(migrator, db):
    class TrackingDomain(Model):
        id = AutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField()
        name = CharField(max_length=253)
        verified_name = CharField(max_length=253, null=True, unique=True)
        verified_ms = BigIntegerField(null=True)
        checked_ms = BigIntegerField(null=True)
        failures = IntegerField()
        ssl_enabled = BooleanField()
        ssl_error = CharField(max_length=255)
        next_check_ms = BigIntegerField(index=True, null=True)
        created_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "tracking_domain"
            indexes = ((("account_id", "name"), True),)

    db.create_tables([TrackingDomain])
    # MySQL commits with every change of a table: what a broken run has done already is left out of the next.
    have = {column.name for column in db.get_columns("sender_domain")}
    for name, made in SENDER_DOMAIN.items():
        if name not in have:
            migrator.migrate(migrator.add_column("sender_domain", name, made()))


def down(migrator, db):
    for name in reversed(SENDER_DOMAIN):
        migrator.migrate(migrator.drop_column("sender_domain", name))
    migrator.migrate(migrator.drop_table("tracking_domain"))
