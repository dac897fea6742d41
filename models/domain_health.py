"""How well a domain is set up for sending, as DNS tells: the last check, and what earlier ones came to."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class DomainHealth(Model):
    """The last check of a domain; it is checked again at `due_ms`."""

    domain_id = pw.IntegerField(primary_key=True)
    account_id = pw.IntegerField()
    score = pw.SmallIntegerField(null=True)  # of 100; none where nothing could be told
    findings = LongTextField(default="[]")  # JSON list
    checked_ms = pw.BigIntegerField()
    due_ms = pw.BigIntegerField(index=True)


class DomainHealthPast(Model):
    """One check that was."""

    id = pw.BigAutoField()
    domain_id = pw.IntegerField()
    at_ms = pw.BigIntegerField(index=True)
    score = pw.SmallIntegerField(null=True)
    statuses = LongTextField(default="{}")  # JSON object: part → status

    class Meta:
        indexes = ((("domain_id", "id"), False),)
