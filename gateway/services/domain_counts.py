"""What belongs to sender domains, counted: keys, SMTP logins, webhooks, and events of the last four weeks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway import clock
from gateway.services.identity import OCTETH, Caller
from models import database as db
from models.vocabulary import EventKind

DAYS = 28
"""Days whose events are counted, today among them."""

_BATCH = 50


@dataclass(slots=True)
class Counts:
    """`events` by kind, without those that did not happen."""

    keys: int = 0
    smtps: int = 0
    webhooks: int = 0
    events: dict[EventKind, int] = field(default_factory=dict)


def counts(*, caller: Caller, domain_ids: Sequence[int]) -> dict[int, Counts]:
    """The counts of these domains of the caller, by domain."""
    found = {domain_id: Counts() for domain_id in domain_ids}
    for at in range(0, len(domain_ids), _BATCH):
        some = list(domain_ids[at : at + _BATCH])
        marks = ",".join("?" * len(some))
        for domain_id, n in db.rows(
            f"SELECT domain_id, COUNT(*) FROM api_key WHERE domain_id IN ({marks}) AND account_id = ? AND surface = ?"
            " AND revoked_ms IS NULL GROUP BY domain_id",
            (*some, caller.account_id, OCTETH),
        ):
            found[domain_id].keys = int(n)
        for domain_id, n in db.rows(_COUNT.format("smtp_login", marks), (*some, caller.account_id)):
            found[domain_id].smtps = int(n)
        for domain_id, n in db.rows(_COUNT.format("webhook", marks), (*some, caller.account_id)):
            found[domain_id].webhooks = int(n)
        for domain_id, kind, n in _events(some, marks):
            found[domain_id].events[EventKind(kind)] = int(n)
    return found


_COUNT = (
    "SELECT domain_id, COUNT(*) FROM {} WHERE domain_id IN ({}) AND account_id = ? AND deleted_ms IS NULL"
    " GROUP BY domain_id"
)


def _events(domain_ids: list[int], marks: str) -> list[tuple[int, int, int]]:
    today = clock.day_number(clock.now_ms())
    days = list(range(today - DAYS + 1, today + 1))
    kinds = [int(kind) for kind in EventKind]
    # Days and kinds are named one by one: a range would read the tags between them too.
    return db.rows(
        f"SELECT domain_id, kind, SUM(n) FROM counter WHERE domain_id IN ({marks})"
        f" AND day IN ({','.join('?' * len(days))}) AND kind IN ({','.join('?' * len(kinds))}) AND tag = ''"
        " GROUP BY domain_id, kind",
        (*domain_ids, *days, *kinds),
    )
