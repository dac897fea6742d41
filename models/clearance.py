"""What is condemned: the queue of a domain that was cleared, or that of one that was deleted."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Clearance(Model):
    """Deliveries of the domain up to `upto` that wait are to end in `state`; gone when none is left."""

    id = pw.AutoField()
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField()
    upto = pw.BigIntegerField()  # the newest delivery when it was decided
    spared = LongTextField(default="[]")  # ids that were in flight then
    state = pw.SmallIntegerField()
    reason = pw.CharField(255)
    created_ms = pw.BigIntegerField()
