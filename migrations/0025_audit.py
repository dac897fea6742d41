"""The audit log, its signed end, and how far spools of calls have been written down."""

from peewee import *

from models.database import LongTextField


def up(migrator, db):
    class AuditEntry(Model):
        id = BigAutoField()
        seq = BigIntegerField(null=True, unique=True)
        uuid = BinaryUUIDField()
        account_id = IntegerField()
        at_ms = BigIntegerField()
        kind = SmallIntegerField()
        actor = CharField(max_length=254)
        key_id = IntegerField(null=True)
        key_prefix = CharField(max_length=32, default="")
        door = CharField(max_length=8)
        action = CharField(max_length=120)
        object = CharField(max_length=190, default="")
        ip = CharField(max_length=45, default="")
        request_id = CharField(max_length=64, default="")
        result = CharField(max_length=8, default="ok")
        status = SmallIntegerField(null=True)
        code = CharField(max_length=64, default="")
        data = LongTextField(null=True)
        hash = CharField(max_length=64, default="")
        mac = CharField(max_length=32, default="")

        class Meta:
            database = db
            table_name = "audit_entry"
            indexes = ((("account_id", "seq"), False), (("account_id", "kind", "seq"), False))

    class AuditHead(Model):
        id = IntegerField(primary_key=True)
        first_seq = BigIntegerField()
        first_hash = CharField(max_length=64)
        last_seq = BigIntegerField()
        last_hash = CharField(max_length=64)
        at_ms = BigIntegerField()
        signature = CharField(max_length=128)

        class Meta:
            database = db
            table_name = "audit_head"

    class AuditSpool(Model):
        name = CharField(max_length=64, primary_key=True)
        done = BigIntegerField()
        at_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "audit_spool"

    db.create_tables([AuditEntry, AuditHead, AuditSpool])


def down(migrator, db):
    for table in ("audit_spool", "audit_head", "audit_entry"):
        migrator.migrate(migrator.drop_table(table))
