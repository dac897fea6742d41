"""Files of subscribers that are taken in behind the answer, and what was wrong with their lines."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, MediumBlobField, Model


class ListImport(Model):
    """`due_ms` is when a worker goes on, or its lease's end; NULL before the file is whole, and after the end."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField()
    list_id = pw.IntegerField(index=True)
    state = pw.CharField(12)  # one of IMPORT_STATES
    format = pw.CharField(8)  # csv | jsonl
    options = LongTextField(default="{}")  # JSON object: mapping of columns
    size = pw.BigIntegerField(default=0)  # bytes
    total = pw.IntegerField(default=0)  # lines with something on them, once they are counted
    reached = pw.BigIntegerField(default=0)  # bytes that were dealt with
    line = pw.IntegerField(default=0)  # lines before them
    done = pw.IntegerField(default=0)  # rows
    added = pw.IntegerField(default=0)
    updated = pw.IntegerField(default=0)
    unchanged = pw.IntegerField(default=0)
    failed = pw.IntegerField(default=0)
    cause = pw.CharField(255, default="")  # why it failed as a whole
    due_ms = pw.BigIntegerField(null=True, index=True)
    fence = pw.IntegerField(default=0)
    created_ms = pw.BigIntegerField(index=True)
    started_ms = pw.BigIntegerField(null=True)
    ended_ms = pw.BigIntegerField(null=True)
    live = pw.BooleanField(null=True, default=True, constraints=[pw.SQL("DEFAULT 1")])  # False: of a test key


class ListImportPart(Model):
    """A piece of the file, in UTF-8; goes when the import has ended."""

    import_id = pw.IntegerField()
    seq = pw.IntegerField()
    body = MediumBlobField()

    class Meta:
        primary_key = pw.CompositeKey("import_id", "seq")


class ListImportError(Model):
    """A row that was not taken: on which line it begins, in which column what was wrong."""

    import_id = pw.IntegerField()
    line = pw.IntegerField()
    seq = pw.IntegerField()  # several of one line
    field = pw.CharField(255)  # the column
    value = pw.CharField(320)
    reason = pw.CharField(255)

    class Meta:
        primary_key = pw.CompositeKey("import_id", "line", "seq")
