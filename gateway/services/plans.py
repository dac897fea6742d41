"""Plans as the operator keeps them: listed, made and changed. Accounts on a changed plan have it within a second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gateway import errors
from gateway.services import identity
from gateway.services.identity import Limits
from models.account import Account, Plan
from models.database import Transaction, in_transaction

LIMITS = tuple(name for name in Limits.__dataclass_fields__ if name != "name")
"""What a plan limits; None is without limit, but of `request_window`, which has seconds."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}\Z")
_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Listed:
    """A plan and how many accounts are on it."""

    limits: Limits
    accounts: int

    def shown(self) -> dict[str, object]:
        return asdict(self.limits) | {"accounts": self.accounts}


def list_() -> list[Listed]:
    """Every plan, in the order they were made."""
    return [
        Listed(
            Limits(**{name: getattr(plan, name) for name in ("name", *LIMITS)}),
            Account.select().where(Account.plan_id == plan.id).count(),
        )
        for plan in Plan.select().order_by(Plan.id)
    ]


def save(*, name: str, changes: Mapping[str, int | None]) -> Listed:
    """Make a plan of that name, or change what is given of the one there is; None lifts a limit. Raises `Invalid`."""
    for field, value in changes.items():
        if field not in LIMITS:
            raise errors.Invalid(f"{field} is no limit: it should be one of {', '.join(LIMITS)}.", field=field)
        if value is None and field == "request_window":
            raise errors.Invalid("request_window should be a number of seconds.", field=field)
        if value is not None and not (1 if field.startswith("request") else 0) <= value <= _MOST:
            raise errors.Invalid(f"{field} should be from 0 to {_MOST}; requests and their window from 1.", field=field)
    if not _NAME.match(name):
        raise errors.Invalid("A plan's name has up to 64 letters, digits, spaces, dots and dashes.", field="name")

    def work(tx: Transaction) -> str:
        found = next((plan for plan in Plan.select() if plan.name.lower() == name.lower()), None)
        if found is None:
            found = Plan.create(name=name, **changes)
        elif changes:
            columns = ", ".join(f"{field} = ?" for field in changes)
            tx.execute(f"UPDATE plan SET {columns} WHERE id = ?", (*changes.values(), found.id))
        return str(found.name)

    saved = in_transaction(work)
    identity.forget()
    return next(one for one in list_() if one.limits.name == saved)
