"""The index of event search, filled behind the hot path."""

from __future__ import annotations

import peewee as pw

from models.database import Model


class SearchTerm(Model):
    """One word of one field is said by a message (`delivery_id` 0) or by the events of one of its deliveries."""

    domain_id = pw.IntegerField()  # 0: `message_id` is the id of a word of the dictionaries
    term = pw.BigIntegerField()  # hash of field and word
    message_id = pw.BigIntegerField()
    delivery_id = pw.BigIntegerField()

    class Meta:
        primary_key = pw.CompositeKey("domain_id", "term", "message_id", "delivery_id")
        without_rowid = True


class SearchMark(Model):
    """How far a reader of the event log has come; one row each: 1 the index, 2 the engagement of addresses."""

    id = pw.IntegerField(primary_key=True)
    event_id = pw.BigIntegerField(default=0)  # events up to here are dealt with
    seen_id = pw.BigIntegerField(default=0)  # the last event at `seen_ms`
    seen_ms = pw.BigIntegerField(default=0)
    lease_ms = pw.BigIntegerField(default=0)  # until then one is at work
