"""Recipients that must not be written to, those who always may be, and what leads there and back."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Suppression(Model):
    """`domain_id` 0 holds for the whole account, below 0 for the mail to one list: its id, negative."""

    id = pw.BigAutoField()
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField(default=0)
    address = pw.CharField(320)  # normalised: lower-case
    reason = pw.CharField(24)  # bounce | complaint | unsubscribe | manual
    detail = LongTextField(default="")
    message_id = pw.BigIntegerField(null=True)  # the message whose fate led here
    created_ms = pw.BigIntegerField()
    expires_ms = pw.BigIntegerField(null=True)
    rule = pw.CharField(64, default="")  # what made it: bounce:5.1.1, strikes:mailbox_full, complaint, import:…
    mx = pw.CharField(255, default="")  # the host that refused, lower-case
    listed_ms = pw.BigIntegerField(null=True)  # when it was put on the list; no other of its account has that time

    class Meta:
        indexes = (
            (("account_id", "listed_ms"), False),
            (("account_id", "address", "domain_id", "reason"), True),
            (("domain_id", "created_ms"), False),
            (("account_id", "id"), False),
            (("created_ms",), False),
        )


class Allowed(Model):
    """An address, or `@` and a domain, that no rule suppresses by itself; `domain_id` 0: for the whole account."""

    id = pw.BigAutoField()
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField(default=0)
    address = pw.CharField(320)
    note = pw.CharField(255, default="")
    created_ms = pw.BigIntegerField()

    class Meta:
        indexes = ((("account_id", "address", "domain_id"), True),)


class Strike(Model):
    """A day on which a message to an address failed for a reason that may pass; a delivery takes them away."""

    account_id = pw.IntegerField()
    address = pw.CharField(320)
    day = pw.IntegerField(index=True)
    kind = pw.CharField(24)  # mailbox_full | time_used_up

    class Meta:
        primary_key = pw.CompositeKey("account_id", "address", "day")


class SuppressionUndo(Model):
    """What was taken off the list at once: by whom, which rules' doing, between which times, how many rows so far."""

    id = pw.BigAutoField()
    account_id = pw.IntegerField(index=True)
    domain_id = pw.IntegerField(null=True)  # null: of every domain and of the account
    by_whom = pw.CharField(254)
    rules = pw.CharField(255)
    mx = LongTextField(default="")
    from_ms = pw.BigIntegerField()
    to_ms = pw.BigIntegerField()
    removed = pw.IntegerField(default=0)
    started_ms = pw.BigIntegerField()
    ended_ms = pw.BigIntegerField(null=True)
