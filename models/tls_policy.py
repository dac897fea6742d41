"""What recipient domains ask of TLS: their MTA-STS policies, kept until they run out."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class TlsPolicy(Model):
    """The policy last fetched for a domain; shared by all processes, and kept over restarts (RFC 8461 §3.3)."""

    domain = pw.CharField(253, primary_key=True)  # lower-case A-labels
    policy_id = pw.CharField(32)  # the id of the TXT record it was fetched for
    mode = pw.CharField(8)  # none | testing | enforce
    mx = LongTextField()  # JSON: patterns
    fetched_ms = pw.BigIntegerField()
    expires_ms = pw.BigIntegerField(index=True)
