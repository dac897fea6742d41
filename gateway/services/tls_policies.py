"""The MTA-STS policies of recipient domains, kept for all processes until they run out."""

from __future__ import annotations

import contextlib
import logging

import orjson
import peewee
import pymysql

from gateway import clock
from gateway.transports.mta_sts import Policy
from models import database as db

_BATCH = 500
_log = logging.getLogger("commandpost.tls")


def load(domain: str) -> Policy | None:
    """The policy last fetched for `domain` (lower-case A-labels), run out or not."""
    rows = db.rows("SELECT policy_id, mode, mx, fetched_ms, expires_ms FROM tls_policy WHERE domain = ?", (domain,))
    for policy_id, mode, mx, fetched_ms, expires_ms in rows:
        return Policy(policy_id, mode, tuple(orjson.loads(mx)), fetched_ms, expires_ms)
    return None


def save(domain: str, policy: Policy) -> None:
    """Keep the policy in place of the one before; what cannot be written now is fetched again by the next process."""
    row = (domain, policy.id, policy.mode, orjson.dumps(policy.mx).decode(), policy.fetched_ms, policy.expires_ms)

    def work(tx: db.Transaction) -> None:
        tx.execute("DELETE FROM tls_policy WHERE domain = ?", (domain,))
        tx.execute(
            "INSERT INTO tls_policy (domain, policy_id, mode, mx, fetched_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )

    try:
        # An integrity error: another process fetched it in the same moment.
        with contextlib.suppress(peewee.IntegrityError, pymysql.err.IntegrityError):
            db.in_transaction(work)
    except db.StoreUnavailable:
        _log.warning("tls_policy_not_kept", extra={"domain": domain})


def collect() -> tuple[int, bool]:
    """Delete a batch of what has run out: how many rows, and whether there may be more."""
    keys = db.rows(f"SELECT domain FROM tls_policy WHERE expires_ms <= ? LIMIT {_BATCH}", (clock.now_ms(),))
    if keys:
        db.in_transaction(lambda tx: tx.executemany("DELETE FROM tls_policy WHERE domain = ?", keys))
    return len(keys), len(keys) == _BATCH
