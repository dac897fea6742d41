"""The audit log: who called what, and who changed what, in a chain of hashes with a signed end."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class AuditEntry(Model):
    """Only ever added to; `seq`, `hash` and `mac` are set once, when the entry takes its place in the chain."""

    id = pw.BigAutoField()
    seq = pw.BigIntegerField(null=True, unique=True)  # NULL: not in the chain yet
    uuid = pw.BinaryUUIDField()
    account_id = pw.IntegerField()  # 0: the whole installation
    at_ms = pw.BigIntegerField()
    kind = pw.SmallIntegerField()  # models.vocabulary.AuditKind
    actor = pw.CharField(254)  # the account's address, cli:name, smtp:name or system
    key_id = pw.IntegerField(null=True)
    key_prefix = pw.CharField(32, default="")
    door = pw.CharField(8)
    action = pw.CharField(120)
    object = pw.CharField(190, default="")
    ip = pw.CharField(45, default="")
    request_id = pw.CharField(64, default="")
    result = pw.CharField(8, default="ok")  # ok | refused | failed
    status = pw.SmallIntegerField(null=True)
    code = pw.CharField(64, default="")  # of a refusal: its slug or number
    data = LongTextField(null=True)  # JSON: before and after of a change
    hash = pw.CharField(64, default="")  # hex SHA-256 over this entry and the hash before it
    mac = pw.CharField(32, default="")  # hex, over `hash`, under the installation's secret

    class Meta:
        indexes = ((("account_id", "seq"), False), (("account_id", "kind", "seq"), False))


class AuditHead(Model):
    """The one row that says, signed, where the chain begins and ends."""

    id = pw.IntegerField(primary_key=True)
    first_seq = pw.BigIntegerField()  # of the last entry that was taken out; 0: none
    first_hash = pw.CharField(64)
    last_seq = pw.BigIntegerField()
    last_hash = pw.CharField(64)
    at_ms = pw.BigIntegerField()
    signature = pw.CharField(128)  # hex, Ed25519


class AuditSpool(Model):
    """One spool file that is being read; its row goes with the file."""

    name = pw.CharField(64, primary_key=True)
    done = pw.BigIntegerField()  # bytes of it whose lines are entries
    at_ms = pw.BigIntegerField()
