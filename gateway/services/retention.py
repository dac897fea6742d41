"""For how many days the parts of messages are kept: by the settings, for an account, for one message."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gateway import clock, config, errors
from gateway.services import audit, identity
from gateway.services.identity import Caller
from models.database import Transaction, in_transaction, rows
from models.vocabulary import RetentionPart

MOST_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Retention:
    """Days since a message was accepted. None: as is said elsewhere, in the end by the settings."""

    body: int | None = None
    metadata: int | None = None

    def days(self, part: RetentionPart) -> int | None:
        return self.body if part is RetentionPart.BODY else self.metadata


_OPTIONS = {RetentionPart.BODY: "body_days", RetentionPart.METADATA: "metadata_days"}


def checked(found: Retention) -> Retention:
    """As it is; raises `Invalid`: 0 to 36,500 days of bodies, 1 to 36,500 of metadata."""
    for name, days, low in (("Body", found.body, 0), ("Metadata", found.metadata, 1)):
        if days is not None and not low <= days <= MOST_DAYS:
            raise errors.Invalid(f"'{name}' should be a number of days from {low} to {MOST_DAYS}", field=name)
    return found


def of_account(options: dict[str, Any]) -> Retention:
    """What holds for an account with these options: its own days, else those of the settings."""
    settings = config.settings()
    return Retention(
        int(options.get(_OPTIONS[RetentionPart.BODY], settings.keep_body_days)),
        int(options.get(_OPTIONS[RetentionPart.METADATA], settings.keep_metadata_days)),
    )


def find(*, caller: Caller) -> Retention:
    """What holds for the caller's account now."""
    ((text,),) = rows("SELECT options FROM account WHERE id = ?", (caller.account_id,))
    return of_account(json.loads(text or "{}"))


def change(*, caller: Caller, changed: Retention, reset: bool = False) -> Retention:
    """Set the given days of the caller's account, after `reset` those of the settings; what holds then.

    Messages that are there already are kept that long too, those with days of their own aside. Raises `Invalid`.
    """
    checked(changed)

    def work(tx: Transaction) -> dict[str, Any]:
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        ((text,),) = tx.rows(f"SELECT options FROM account WHERE id = ?{lock}", (caller.account_id,))
        options: dict[str, Any] = json.loads(text or "{}")
        before = dict(options)
        for part, name in _OPTIONS.items():
            if reset:
                options.pop(name, None)
            if (days := changed.days(part)) is not None:
                options[name] = days
        if options != before:
            tx.execute("UPDATE account SET options = ? WHERE id = ?", (json.dumps(options), caller.account_id))
            what = f"user:{caller.account_id}"
            names = _OPTIONS.values()
            sides = [{name: one.get(name) for name in names} for one in (before, options)]
            audit.record(tx, caller=caller, action="retention.update", what=what, before=sides[0], after=sides[1])
        return options

    options = in_transaction(work)
    identity.forget()
    return of_account(options)


def ask(tx: Transaction, *, message_id: int, wanted: Retention, now_ms: int) -> None:
    """A message has days of its own: they are counted from `now_ms`, whatever the account's are by then."""
    for part in RetentionPart:
        if (days := wanted.days(part)) is not None:
            tx.execute(
                "INSERT INTO retention_due (message_id, part, due_ms) VALUES (?, ?, ?)",
                (message_id, int(part), now_ms + days * clock.DAY_MS),
            )
