"""Idempotency keys: the row that makes the second of two equal requests the first one's answer.

The scope is an account's endpoint (draft-ietf-httpapi-idempotency-key-header-07); the row is written in the
message's own transaction, so that a key is kept exactly where its message is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pymysql

from gateway import errors
from gateway.mail.draft import Draft
from models import database as db
from models import many_rows

KEEP_MS = 72 * 3_600_000
"""How long a key is answered with what it was answered first."""

_CHUNK = 500
_COLUMN = {"sqlite": '"key"', "mysql": "`key`"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request under a key; `fingerprint` is the hex SHA-256 of its payload."""

    account_id: int
    endpoint: str
    key: str
    fingerprint: str

    @property
    def row(self) -> tuple[str, str]:
        return f"{self.account_id}:{self.endpoint}", self.key


def of_draft(account_id: int, draft: Draft) -> Request | None:
    """What the draft was asked for under; None where it came without a key."""
    if draft.idempotency_key is None:
        return None
    return Request(account_id, draft.idempotency_scope, draft.idempotency_key, draft.fingerprint)


def replay(request: Request) -> str | None:
    """The stored answer to the same request, read outside a transaction; None where there is none yet.

    A cheap look ahead, so that what changed since then cannot refuse what was accepted; `claim` decides.
    """
    found = db.rows(
        f"SELECT fingerprint, answer FROM idempotency_key WHERE scope = ? AND {_COLUMN[db.dialect()]} = ?", request.row
    )
    if not found or found[0][0] != request.fingerprint or found[0][1] is None:
        return None
    return str(found[0][1])


def claim(tx: db.Transaction, request: Request, *, now_ms: int) -> str | None:
    """Write the key's row first: a parallel twin waits on it until this transaction ends.

    Returns the earlier answer to the same payload; raises `IdempotencyMismatch` and `IdempotencyRunning`.
    """
    ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
    column = _COLUMN[tx.dialect]
    try:
        made = tx.execute(
            f"{ignore} INTO idempotency_key (scope, {column}, fingerprint, created_ms) VALUES (?, ?, ?, ?)",
            (*request.row, request.fingerprint, now_ms),
        ).rowcount
    except pymysql.err.OperationalError as error:
        if error.args and error.args[0] == 1205:  # the twin held its row for longer than the lock time-out
            raise errors.IdempotencyRunning() from None
        raise
    if made:
        return None
    fingerprint, answer = tx.rows(
        f"SELECT fingerprint, answer FROM idempotency_key WHERE scope = ? AND {column} = ?", request.row
    )[0]
    if fingerprint != request.fingerprint:
        raise errors.IdempotencyMismatch()
    return str(answer)


def once(tx: db.Transaction, request: Request | None, make: Callable[[], str], *, now_ms: int) -> str:
    """What `make` answers, or the earlier answer to the same request; without a request it is always made.

    Raises what `claim` does.
    """
    if request is None:
        return make()
    earlier = claim(tx, request, now_ms=now_ms)
    if earlier is None:
        earlier = make()
        finish(tx, request, message_id=None, answer=earlier)
    return earlier


def finish(tx: db.Transaction, request: Request, *, message_id: int | None, answer: str) -> None:
    """Keep what the request is answered with."""
    tx.execute(
        "UPDATE idempotency_key SET message_id = ?, status = 200, answer = ?"
        f" WHERE scope = ? AND {_COLUMN[tx.dialect]} = ?",
        (message_id, answer, *request.row),
    )


def claim_many(
    tx: db.Transaction, requests: Sequence[tuple[Request, str]], *, now_ms: int
) -> list[str | errors.IdempotencyMismatch | None]:
    """`claim` and `finish` for many requests with the answers that they will get, each key at most once.

    For each: None where it is new, the earlier answer, or a refusal. Raises `IdempotencyRunning` where a twin of
    one of them takes too long.
    """
    # Sorted, so that two transactions meet on the same keys in one order.
    rows = sorted((*request.row, request.fingerprint, 200, answer, now_ms) for request, answer in requests)
    columns = ("scope", "key", "fingerprint", "status", "answer", "created_ms")
    try:
        many_rows.insert(tx, "idempotency_key", columns, rows, ignore=True)
    except pymysql.err.OperationalError as error:
        if error.args and error.args[0] == 1205:
            raise errors.IdempotencyRunning() from None
        raise
    found: dict[tuple[str, str], tuple[str, str | None]] = {}
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        marks = ",".join("?" * len(some))
        column = _COLUMN[tx.dialect]
        for scope in sorted({row[0] for row in some}):
            for key, fingerprint, answer in tx.rows(
                f"SELECT {column}, fingerprint, answer FROM idempotency_key WHERE scope = ? AND {column} IN ({marks})",
                (scope, *(row[1] for row in some)),
            ):
                found[scope, key] = (fingerprint, answer)
    decided: list[str | errors.IdempotencyMismatch | None] = []
    for request, answer in requests:
        fingerprint, kept = found[request.row]
        if kept == answer:
            decided.append(None)
        else:
            decided.append(str(kept) if fingerprint == request.fingerprint else errors.IdempotencyMismatch())
    return decided


def forget(tx: db.Transaction, requests: Sequence[Request]) -> None:
    """Take back the keys of requests that were refused after all."""
    if requests:
        tx.executemany(
            f"DELETE FROM idempotency_key WHERE scope = ? AND {_COLUMN[tx.dialect]} = ?",
            [request.row for request in requests],
        )
