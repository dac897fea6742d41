"""What providers told our hooks, as they said it, beside the events that it became."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class ProviderEvent(Model):
    """Once for each event of a server: told again it finds this row. `delivery_id` NULL: it names none of ours."""

    id = pw.BigAutoField()
    server_id = pw.IntegerField()
    foreign_id = pw.CharField(190)  # the provider's id of the event
    account_id = pw.IntegerField()
    message_id = pw.BigIntegerField(null=True, index=True)
    delivery_id = pw.BigIntegerField(null=True)
    type = pw.CharField(64)  # the provider's word
    kind = pw.SmallIntegerField(null=True)  # ours; NULL: a word that means nothing here
    what = pw.CharField(12)  # recorded | repeated | late | ignored | unmatched
    at_ms = pw.BigIntegerField()  # when it happened, as the provider says
    raw = LongTextField()  # at most 16 kB; '' once its recipient was erased
    created_ms = pw.BigIntegerField(index=True)

    class Meta:
        indexes = ((("server_id", "foreign_id"), True), (("account_id", "delivery_id"), False))


class HookNonce(Model):
    """Tokens of signatures that do not cover what is told, so that each is good for one call only."""

    server_id = pw.IntegerField()
    nonce = pw.CharField(100)
    digest = pw.CharField(64)  # of the body that came with it
    created_ms = pw.BigIntegerField(index=True)

    class Meta:
        primary_key = pw.CompositeKey("server_id", "nonce")


class HandedOver(Model):
    """Deliveries that a provider took and has not reported yet what became of."""

    delivery_id = pw.BigIntegerField(primary_key=True)
    transport = pw.CharField(64)
    at_ms = pw.BigIntegerField(index=True)

    class Meta:
        table_name = "handed_over"
