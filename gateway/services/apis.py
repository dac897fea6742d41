"""Sender keys: the API keys of one sender domain, as its owner makes and lists them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway import clock, errors
from gateway.services import audit, domains, identity, keys, scratchpad
from gateway.services.identity import Caller
from models.api import ApiKey
from models.database import Transaction, in_transaction

SURFACE = "octeth"
ALL = "all"
"""What a key without scopes may do of its surface."""


@dataclass(frozen=True, slots=True)
class SenderKey:
    """A key as its owner may see it; `defaults` has what is set of ListID, SubscriberID, JourneyID, ActionID."""

    id: int
    account_id: int
    domain_id: int
    key: str = field(repr=False)  # in clear
    permissions: str  # scopes joined by commas
    description: str
    defaults: dict[str, str]
    created_ms: int
    used_ms: int | None


def add(
    *,
    caller: Caller,
    domain_id: int,
    description: str,
    defaults: Mapping[str, str] | None = None,
    permissions: Iterable[str] = (),
) -> SenderKey:
    """Make a key of the domain, for everything or only for `permissions`; raises `NotFound`, `Invalid`."""

    def work(tx: Transaction) -> SenderKey:
        domain = domains.find(caller=caller, domain_id=domain_id)
        row, text = keys.create_key(
            tx,
            account_id=caller.account_id,
            domain_id=domain.id,
            surface=SURFACE,
            scopes=permissions,
            description=description,
            defaults=defaults,
        )
        _record(tx, caller, "key.create", row)
        return _shown(row, text, None)

    return in_transaction(work)


def list_(*, caller: Caller, domain_id: int) -> list[SenderKey]:
    """The domain's keys that work, the oldest first; raises `NotFound`."""
    domain = domains.find(caller=caller, domain_id=domain_id)
    rows = list(
        ApiKey.select()
        .where(
            ApiKey.account_id == caller.account_id,
            ApiKey.domain_id == domain.id,
            ApiKey.surface == SURFACE,
            ApiKey.revoked_ms.is_null(),
            ApiKey.expires_ms.is_null() | (ApiKey.expires_ms > clock.now_ms()),
        )
        .order_by(ApiKey.id)
    )
    used = _last_used([row.id for row in rows])
    return [_shown(row, keys.shown(row.uuid, row.sealed), used.get(row.id)) for row in rows]


def delete(*, caller: Caller, key_id: int) -> None:
    """The key stops at once; raises `NotFound` for an absent, foreign or revoked one and for an account's own key."""

    def work(tx: Transaction) -> None:
        row = _own(tx, caller, key_id)
        _revoke(tx, row)
        _record(tx, caller, "key.revoke", row)

    in_transaction(work)
    identity.forget()


def replace(*, caller: Caller, key_id: int) -> SenderKey:
    """Make a key that may do what `key_id` may, in the very transaction that stops the old one; raises `NotFound`."""

    def work(tx: Transaction) -> SenderKey:
        old = _own(tx, caller, key_id)
        domain = domains.find(caller=caller, domain_id=int(old.domain_id or 0))
        row, text = keys.create_key(
            tx,
            account_id=caller.account_id,
            domain_id=domain.id,
            surface=SURFACE,
            scopes=json.loads(old.scopes),
            live=old.live,
            strict=old.strict,
            description=old.description,
            defaults=_defaults(old),
        )
        tx.execute("UPDATE api_key SET expires_ms = ? WHERE id = ?", (old.expires_ms, row.id))
        _revoke(tx, old)
        _record(tx, caller, "key.replace", row, replaced=old.prefix)
        return _shown(row, text, None)

    made = in_transaction(work)
    identity.forget()
    return made


def _own(tx: Transaction, caller: Caller, key_id: int) -> ApiKey:
    """A sender key of the caller that works, locked against whoever else replaces or deletes it."""
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    tx.rows(f"SELECT id FROM api_key WHERE id = ? AND account_id = ?{lock}", (key_id, caller.account_id))
    row = ApiKey.get_or_none(
        ApiKey.id == key_id,
        ApiKey.account_id == caller.account_id,
        ApiKey.domain_id.is_null(False),
        ApiKey.surface == SURFACE,
        ApiKey.revoked_ms.is_null(),
    )
    if row is None or caller.domain_id not in (None, row.domain_id):
        raise errors.NotFound("There is no such key.", what="key")
    return row


def _revoke(tx: Transaction, row: ApiKey) -> None:
    tx.execute("UPDATE api_key SET revoked_ms = ? WHERE id = ?", (clock.now_ms(), row.id))


def _record(tx: Transaction, caller: Caller, action: str, row: ApiKey, **more: str) -> None:
    """The key as lists show it: by its prefix."""
    told = {"prefix": row.prefix, "domain_id": row.domain_id, "surface": row.surface, "scopes": json.loads(row.scopes)}
    told |= {"live": row.live, "description": row.description, **more}
    gone = action == "key.revoke"
    audit.record(
        tx,
        caller=caller,
        action=action,
        what=f"key:{row.id}",
        before=told if gone else None,
        after=None if gone else told,
    )


def _last_used(key_ids: list[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for at in range(0, len(key_ids), 500):
        part = key_ids[at : at + 500]
        marks = ", ".join("?" * len(part))
        found.update(scratchpad.rows(f"SELECT key_id, used_ms FROM key_use WHERE key_id IN ({marks})", part))
    return found


def _shown(row: ApiKey, text: str, used_ms: int | None) -> SenderKey:
    return SenderKey(
        id=row.id,
        account_id=row.account_id,
        domain_id=int(row.domain_id or 0),
        key=text,
        permissions=",".join(json.loads(row.scopes)) or ALL,
        description=row.description,
        defaults=_defaults(row),
        created_ms=row.created_ms,
        used_ms=used_ms,
    )


def _defaults(row: ApiKey) -> dict[str, str]:
    found = {
        "ListID": row.list_id,
        "SubscriberID": row.subscriber_id,
        "JourneyID": row.journey_id,
        "ActionID": row.action_id,
    }
    return {name: value for name, value in found.items() if value}
