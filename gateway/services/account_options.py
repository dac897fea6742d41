"""Account options: switches for accounts whose clients need an answer or a check of their own."""

from __future__ import annotations

import json

from gateway import errors
from gateway.services import audit, identity, users
from models.database import Transaction, in_transaction

OPTIONS = {
    "numeric_ids": "the New…ID values of the command API are numbers instead of texts",
    "risk_warn": "a message at high risk is sent, and its verdict warns of it",
    "risk_hold": "a message at critical risk waits until a person releases it",
    "strict_names": "addresses of a send without a name are refused",
}
"""What can be switched, each with what it does; all are off by default."""


def change(*, email: str, changed: dict[str, bool]) -> dict[str, bool]:
    """Switch the named options and leave the others; all options of the account. Raises `NotFound`, `Invalid`."""
    unknown = changed.keys() - OPTIONS.keys()
    if unknown:
        raise errors.Invalid(f"There is no option {min(unknown)}; there are {', '.join(OPTIONS)}.", field="option")

    def work(tx: Transaction) -> dict[str, bool]:
        account = users.find(email)
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        ((text,),) = tx.rows(f"SELECT options FROM account WHERE id = ?{lock}", (account.id,))
        options = json.loads(text or "{}") | changed
        if changed:
            before = {name: bool(json.loads(text or "{}").get(name)) for name in changed}
            audit.record(
                tx, caller=None, account_id=account.id, action="user.options", what=f"user:{account.id}",
                before=before, after=changed,
            )  # fmt: skip
            tx.execute("UPDATE account SET options = ? WHERE id = ?", (json.dumps(options), account.id))
        return {name: bool(options.get(name)) for name in OPTIONS}

    found = in_transaction(work)
    identity.forget()
    return found
