"""Recipients that must not be written to."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Suppression(Model):
    """`domain_id` 0 holds for the whole account."""

    id = pw.BigAutoField()
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField(default=0)
    address = pw.CharField(320)  # normalised: lower-case
    reason = pw.CharField(24)  # bounce | complaint | unsubscribe | manual
    detail = LongTextField(default="")
    message_id = pw.BigIntegerField(null=True)
    created_ms = pw.BigIntegerField()
    expires_ms = pw.BigIntegerField(null=True)

    class Meta:
        indexes = (
            (("account_id", "address", "domain_id", "reason"), True),
            (("domain_id", "created_ms"), False),
        )
