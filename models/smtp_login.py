"""Logins for SMTP submission."""

from __future__ import annotations

import peewee as pw

from models.database import Model


class SmtpLogin(Model):
    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField(index=True)
    domain_id = pw.IntegerField(index=True)
    username = pw.CharField(254, unique=True)
    password = pw.TextField()  # sealed
    from_name = pw.CharField(255, default="")
    from_email = pw.CharField(254, default="")
    reply_to_name = pw.CharField(255, default="")
    reply_to_email = pw.CharField(254, default="")
    active = pw.BooleanField(default=True)
    created_ms = pw.BigIntegerField()
    deleted_ms = pw.BigIntegerField(null=True)
