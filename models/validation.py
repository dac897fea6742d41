"""Addresses that are validated behind the answer."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class ValidationJob(Model):
    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    domain_id = pw.IntegerField(null=True)  # of the key that asked, where it was of one domain
    total = pw.IntegerField()
    done = pw.IntegerField(default=0)  # the first ones, in their order
    verdicts = LongTextField(default="{}")  # JSON: how many of each
    due_ms = pw.BigIntegerField(null=True, index=True)  # when it goes on; while somebody is at it, the lease's end
    created_ms = pw.BigIntegerField(index=True)
    ended_ms = pw.BigIntegerField(null=True)


class ValidationItem(Model):
    job_id = pw.IntegerField()
    seq = pw.IntegerField()  # from 0
    email = pw.CharField(1000)
    result = LongTextField(null=True)  # JSON

    class Meta:
        primary_key = pw.CompositeKey("job_id", "seq")
