"""What happens and may start an automation: put down in the transaction that makes it true, and only where one hears.

An account without such automations costs one look into this process's memory; a new automation is heard of within
a second.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from gateway import clock, jobs
from models import database as db
from models.vocabulary import EventKind

if TYPE_CHECKING:
    from gateway.services.ledger import Fact

ADDED, UNSUBSCRIBED = "subscriber.added", "subscriber.unsubscribed"

_TRUST_MS = 1000
_SIZE = 4096
_CHUNK = 200
_EMAIL_LENGTH = 320
_known: dict[int, tuple[int, frozenset[str]]] = {}
_lock = threading.Lock()


def forget() -> None:
    """Drop the process's memory (another database was connected, or an automation was changed here)."""
    with _lock:
        _known.clear()


def heard(account_id: int) -> frozenset[str]:
    """The words of events that start an automation of the account; at most a second old."""
    found = _known.get(account_id)
    now = clock.now_ms()
    if found is not None and 0 <= now - found[0] < _TRUST_MS:
        return found[1]
    rows = db.rows(
        "SELECT DISTINCT hears FROM automation WHERE account_id = ? AND hears <> '' AND state = 'active'"
        " AND deleted_ms IS NULL",
        (account_id,),
    )
    words = frozenset(word for (word,) in rows)
    with _lock:
        if len(_known) >= _SIZE:
            _known.clear()
        _known[account_id] = (now, words)
    return words


def of_facts(tx: db.Transaction, facts: Sequence[Fact]) -> None:
    """Part of `ledger.record`: events about one recipient; an open or click that is a repetition starts nothing."""
    rows = []
    for fact in facts:
        if fact.kind is EventKind.ACCEPTED or not fact.rcpt or fact.kind.word not in heard(fact.account_id):
            continue
        if fact.data and fact.data.get("repeat"):
            continue
        data: dict[str, Any] = {"message_id": fact.message_id, "tags": list(fact.tags), "origin": fact.origin}
        if fact.data and fact.data.get("url"):
            data["url"] = fact.data["url"]
        rows.append((fact.account_id, fact.kind.word, fact.rcpt, None, None, data))
    put(tx, rows)


def of_subscribers(
    tx: db.Transaction,
    word: str,
    *,
    account_id: int,
    list_id: int,
    people: Sequence[tuple[int | None, str]],
    live: bool = True,
) -> None:
    """Numbers and addresses of those who were put on the list, or left it; not `live`: by a test key."""
    if people and word in heard(account_id):
        said = origin_of(live=live)
        put(tx, [(account_id, word, email, list_id, number, said) for number, email in people])


def origin_of(*, live: bool) -> dict[str, Any]:
    """What a signal says of the key that made it."""
    return {} if live else {"test": True}


def put(tx: db.Transaction, rows: Sequence[tuple[int, str, str, int | None, int | None, Mapping[str, Any]]]) -> None:
    """Account, word, address, list, subscriber and what else is known of each."""
    now = clock.now_ms()
    for start in range(0, len(rows), _CHUNK):
        some = [
            (account_id, word, email[:_EMAIL_LENGTH], list_id, number, orjson.dumps(data).decode(), now)
            for account_id, word, email, list_id, number, data in rows[start : start + _CHUNK]
        ]
        tx.execute(
            "INSERT INTO automation_signal (account_id, word, email, list_id, subscriber_id, data, at_ms)"
            f" VALUES {','.join(['(?,?,?,?,?,?,?)'] * len(some))}",
            [value for row in some for value in row],
        )
    if rows:
        tx.after_commit(lambda: jobs.ring(jobs.AUTOMATIONS), key=jobs.AUTOMATIONS)
