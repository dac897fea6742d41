"""The outbox of webhooks: what happens is written for each endpoint that hears of it, in the same transaction."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from gateway import clock, ids, jobs
from models.database import Transaction
from models.vocabulary import EventKind, NoticeKind

_INSERT = (
    "INSERT INTO webhook_delivery (uuid, webhook_id, message_id, event_id, due_ms, created_ms, state, fence,"
    " attempts, last_error) VALUES (?, ?, ?, ?, ?, ?, 'live', 0, 0, '')"
)
_ACTIVE = "status = 'active' AND deleted_ms IS NULL"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An active webhook as the writer of events sees it; `domain_ids` None hears of every domain of the account."""

    id: int
    account_id: int
    domain_ids: Collection[int] | None
    kinds: int  # bit mask of 1 << EventKind

    def hears(self, account_id: int, domain_id: int, kind: EventKind) -> bool:
        return (
            bool(self.kinds >> kind & 1)
            and self.account_id == account_id
            and (self.domain_ids is None or domain_id in self.domain_ids)
        )


def matching(tx: Transaction, domain_ids: set[int], account_ids: set[int]) -> list[Endpoint]:
    """Active webhooks that may hear of these domains: those of one domain or a group first, each the oldest first.

    Whoever writes events picks by `hears` and puts one row of `webhook_delivery` down for each.
    """
    if not domain_ids and not account_ids:
        return []
    # Two halves of one statement: an OR over two columns would read the whole table.
    select = f"SELECT id, account_id, domain_id, domain_ids, kinds FROM webhook WHERE {{}} AND {_ACTIVE}"
    halves = [
        select.format(where.format(", ".join("?" * len(wanted))))
        for wanted, where in (
            (domain_ids, "domain_id IN ({})"),
            (account_ids, "account_id IN ({}) AND domain_id IS NULL"),
        )
        if wanted
    ]
    rows = tx.rows(" UNION ALL ".join(halves), [*sorted(domain_ids), *sorted(account_ids)])
    found = [
        Endpoint(id_, account_id, _heard(domain_id, group), kinds) for id_, account_id, domain_id, group, kinds in rows
    ]
    return sorted(found, key=lambda endpoint: (endpoint.domain_ids is None, endpoint.id))


def put(tx: Transaction, rows: list[tuple[int, int, int]]) -> None:
    """Write (webhook, message, event) to be told, and ring after the commit."""
    if not rows:
        return
    now = clock.now_ms()
    tx.executemany(_INSERT, [(ids.new_uuid().bytes, *row, now, now) for row in rows])
    tx.after_commit(lambda: jobs.ring(jobs.WEBHOOKS), key=jobs.WEBHOOKS)


def put_notice(tx: Transaction, kind: NoticeKind, *, notice_id: int, account_id: int, domain_id: int | None) -> None:
    """Write the notice for the account's webhooks that ask for its kind; a group hears of its own domains only."""
    hooks = tx.rows(
        "SELECT id, domain_ids, notices FROM webhook WHERE account_id = ? AND domain_id IS NULL"
        f" AND notices IS NOT NULL AND {_ACTIVE} ORDER BY id",
        (account_id,),
    )
    rows = []
    for id_, group, wanted in hooks:
        heard = _heard(None, group)
        if {"*", kind.value} & set(json.loads(wanted)) and (heard is None or domain_id in heard):
            rows.append((id_, -(domain_id or 0), -notice_id))
    put(tx, rows)


def _heard(domain_id: int | None, group: str | None) -> frozenset[int] | None:
    if domain_id is not None:
        return frozenset((domain_id,))
    return frozenset(json.loads(group)) if group is not None else None
