"""Facts about what an account has that are not about one delivery."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Notice(Model):
    """Only ever added to."""

    id = pw.BigAutoField()
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField(null=True)
    kind = pw.CharField(64)
    at_ms = pw.BigIntegerField()
    data = LongTextField(default="{}")  # JSON

    class Meta:
        indexes = ((("account_id", "id"), False), (("domain_id", "id"), False))
