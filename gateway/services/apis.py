"""Sender keys: the API keys of one sender domain, as its owner makes and lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.services import domains, keys, scratchpad
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


def add(*, caller: Caller, domain_id: int, description: str, defaults: Mapping[str, str] | None = None) -> SenderKey:
    """Make a key that sends for the domain; raises `NotFound`."""

    def work(tx: Transaction) -> SenderKey:
        domain = domains.find(caller=caller, domain_id=domain_id)
        row, text = keys.create_key(
            tx,
            account_id=caller.account_id,
            domain_id=domain.id,
            surface=SURFACE,
            description=description,
            defaults=defaults,
        )
        return _shown(row, text, None)

    return in_transaction(work)


def list_(*, caller: Caller, domain_id: int) -> list[SenderKey]:
    """The domain's keys that are not revoked, the oldest first; raises `NotFound`."""
    domain = domains.find(caller=caller, domain_id=domain_id)
    rows = list(
        ApiKey.select()
        .where(
            ApiKey.account_id == caller.account_id,
            ApiKey.domain_id == domain.id,
            ApiKey.surface == SURFACE,
            ApiKey.revoked_ms.is_null(),
        )
        .order_by(ApiKey.id)
    )
    used = _last_used([row.id for row in rows])
    return [_shown(row, keys.shown(row.uuid, row.sealed), used.get(row.id)) for row in rows]


def _last_used(key_ids: list[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for at in range(0, len(key_ids), 500):
        part = key_ids[at : at + 500]
        marks = ", ".join("?" * len(part))
        found.update(scratchpad.rows(f"SELECT key_id, used_ms FROM key_use WHERE key_id IN ({marks})", part))
    return found


def _shown(row: ApiKey, text: str, used_ms: int | None) -> SenderKey:
    defaults = {
        "ListID": row.list_id,
        "SubscriberID": row.subscriber_id,
        "JourneyID": row.journey_id,
        "ActionID": row.action_id,
    }
    return SenderKey(
        id=row.id,
        account_id=row.account_id,
        domain_id=int(row.domain_id or 0),
        key=text,
        permissions=",".join(json.loads(row.scopes)) or ALL,
        description=row.description,
        defaults={name: value for name, value in defaults.items() if value},
        created_ms=row.created_ms,
        used_ms=used_ms,
    )
