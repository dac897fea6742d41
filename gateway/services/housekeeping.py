"""Taking out what has run out, in small batches that leave the writer free between them."""

from __future__ import annotations

import time

from gateway import clock
from gateway.services import (
    audit_chain,
    automation_work,
    campaign_launches,
    contents,
    destination_past,
    domain_health,
    engagement,
    erasures,
    expired,
    honeypots,
    idempotency,
    inbound_mail,
    key_usage,
    list_imports,
    lists,
    mailbox_mail,
    provider_reports,
    quotas,
    scratchpad,
    shaping,
    strikes,
    tls_policies,
    validation_jobs,
    warmups,
    webhook_log,
    webhook_replays,
)
from models import database as db

CONTENT_MS = 3_600_000
"""Age from which a body that no message refers to is the rest of a request that broke off."""
_HEARTBEAT_MS = clock.DAY_MS
_BATCH = 500
_WINDOW = 1000
_Step = tuple[int, bool]  # rows deleted; whether there may be more


class _Mark:
    """How far this process has looked for unreferenced bodies; what is referred to stays so."""

    owner: object = None
    content_id = 0


def sweep(seconds: float) -> int:
    """Delete what has run out, for up to `seconds`; returns how many rows went.

    Safe to run anywhere, at any time, twice at once.
    """
    end = time.monotonic() + seconds
    total = 0
    steps = (_sessions, _idempotency_keys, _quota_periods, _contents, lists.collect, strikes.collect)
    more_steps = (
        provider_reports.collect,
        tls_policies.collect,
        inbound_mail.collect,
        mailbox_mail.collect,
        domain_health.collect,
        warmups.collect,
        shaping.collect,
        engagement.collect,
        list_imports.collect,
        validation_jobs.collect,
    )
    of_webhooks = (webhook_log.collect, webhook_replays.collect)
    for step in (
        *steps,
        *more_steps,
        *of_webhooks,
        _rate_counters,
        _heartbeats,
        _destination_minutes,
        _honeypot_hits,
        key_usage.collect,
        expired.collect,
        erasures.collect,
        audit_chain.collect,
        campaign_launches.collect,
        automation_work.collect,
    ):
        more = True
        while more and time.monotonic() < end:
            gone, more = step()
            total += gone
    return total


def _delete(select: str, delete: str, before_ms: int) -> _Step:
    """Find up to a batch of keys outside the transaction and delete them inside it."""
    keys = db.rows(f"{select} LIMIT {_BATCH}", (before_ms,))
    if not keys:
        return 0, False
    db.in_transaction(lambda tx: tx.executemany(delete, keys))
    return len(keys), len(keys) == _BATCH


def _sessions() -> _Step:
    return _delete("SELECT id FROM session WHERE expires_ms <= ?", "DELETE FROM session WHERE id = ?", clock.now_ms())


def _idempotency_keys() -> _Step:
    quoted = "`key`" if db.dialect() == "mysql" else '"key"'
    return _delete(
        f"SELECT scope, {quoted} FROM idempotency_key WHERE created_ms < ?",
        f"DELETE FROM idempotency_key WHERE scope = ? AND {quoted} = ?",
        clock.now_ms() - idempotency.KEEP_MS,
    )


def _quota_periods() -> _Step:
    gone: int = db.in_transaction(quotas.forget_past)
    return gone, False


def _contents() -> _Step:
    """Look at one window of bodies; only where one is unreferenced is the writer held."""
    if _Mark.owner is not db.database.obj:
        _Mark.owner, _Mark.content_id = db.database.obj, 0
    before_ms = clock.now_ms() - CONTENT_MS
    ids = [
        content_id
        for content_id, created_ms in db.rows(
            f"SELECT id, created_ms FROM content WHERE id > ? ORDER BY id LIMIT {_WINDOW}", (_Mark.content_id,)
        )
        if created_ms < before_ms
    ]
    if not ids:
        return 0, False
    marks = ",".join("?" * len(ids))
    left = set(ids) - {i for (i,) in db.rows(f"SELECT content_id FROM message WHERE content_id IN ({marks})", ids)}
    if left:
        marks = ",".join("?" * len(left))
        kept = db.rows(f"SELECT content_id FROM captured_mail WHERE content_id IN ({marks})", sorted(left))
        left -= {i for (i,) in kept}
    gone = 0
    while left:
        done: int = db.in_transaction(lambda tx: contents.collect(tx, before_ms=before_ms))
        gone += done
        if not done or gone >= len(left):
            break
    _Mark.content_id = ids[-1]
    return gone, len(ids) == _WINDOW


def _rate_counters() -> _Step:
    return _scratch("rate_counter", "key", "expires_ms <= ?", clock.now_ms())


def _heartbeats() -> _Step:
    return _scratch("heartbeat", "at_ms", "at_ms < ?", clock.now_ms() - _HEARTBEAT_MS)


def _honeypot_hits() -> _Step:
    return _scratch("honeypot_hit", "at_ms", "at_ms < ?", clock.now_ms() - honeypots.KEPT_MS)


def _destination_minutes() -> _Step:
    return _scratch("destination_minute", "minute", "minute < ?", destination_past.oldest_kept())


def _scratch(table: str, column: str, condition: str, before_ms: int) -> _Step:
    if db.dialect() == "mysql":
        sql = f"DELETE FROM {table} WHERE {condition} LIMIT {_BATCH}"
    else:
        old = f'SELECT "{column}" FROM {table} WHERE {condition} LIMIT {_BATCH}'
        sql = f'DELETE FROM {table} WHERE "{column}" IN ({old})'
    gone = int(scratchpad.write(sql, (before_ms,))[1])
    return gone, gone == _BATCH
