"""Hosts of links and opens that an account brings along."""

from __future__ import annotations

import peewee as pw

from models.database import Model


class TrackingDomain(Model):
    """A host that leads to us; `verified_name` is its name while that is so: then no other account has it."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField()
    name = pw.CharField(253)  # lower-case A-labels
    verified_name = pw.CharField(253, null=True, unique=True)
    verified_ms = pw.BigIntegerField(null=True)
    checked_ms = pw.BigIntegerField(null=True)
    failures = pw.IntegerField(default=0)  # checks in a row that did not find it leading to us
    ssl_enabled = pw.BooleanField(default=False)  # what the last connection said
    ssl_error = pw.CharField(255, default="")
    next_check_ms = pw.BigIntegerField(null=True, index=True)
    created_ms = pw.BigIntegerField()

    class Meta:
        indexes = ((("account_id", "name"), True),)
