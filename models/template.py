"""Texts with variables that an account keeps to send."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Template(Model):
    """Liquid sources of a message's parts; at least one of `html` and `text` is there."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    name = pw.CharField(255)
    subject = LongTextField()
    html = LongTextField(null=True)
    text = LongTextField(null=True)
    created_ms = pw.BigIntegerField()
    updated_ms = pw.BigIntegerField()
