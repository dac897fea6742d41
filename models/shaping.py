"""Limits on how destinations are written to, made by rules or by an operator."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Limit(Model):
    """Holds until `until_ms`; for good where that is null or it is pinned; never once it is canceled."""

    id = pw.AutoField()
    scope = pw.CharField(8)  # mx: exchangers of a group | domain: a recipient domain | server: a sending server
    target = pw.CharField(255)  # which one, lower-case
    kind = pw.CharField(12)  # pause | rate | connections
    value = pw.IntegerField(default=0)  # messages a minute, or connections, of all processes together
    cause = LongTextField(default="")  # for people, with the reply that led here
    rule = pw.CharField(64, default="")
    origin = pw.CharField(8)  # auto | operator
    created_ms = pw.BigIntegerField()
    changed_ms = pw.BigIntegerField()
    until_ms = pw.BigIntegerField(null=True)
    pinned = pw.BooleanField(default=False)
    canceled_ms = pw.BigIntegerField(null=True)

    class Meta:
        table_name = "shaping_limit"
        indexes = ((("canceled_ms", "until_ms"), False),)
