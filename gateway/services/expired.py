"""Taking messages out of the store whose days are over, a few at a time.

Every domain is walked in the order of its messages, each looked at once. One that is not through yet, or has days
of its own, waits in `retention_due`. All steps may run twice, and at several places at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from gateway import clock, config
from gateway.services import contents, ledger, retention, search_index, statistics
from gateway.services.event_range import BY_MESSAGE, MESSAGES_BY_ID
from models import database as db
from models.vocabulary import FacetKind, RetentionPart

_BATCH = 50  # messages
_CHUNK = 500  # rows of one transaction: it must not hold the writer for long
_GAP = 0.25  # the pause after a transaction, as a part of how long it took
_ROUND_MS = clock.HOUR_MS
_SETTLED_MS = clock.HOUR_MS  # a body is shared with the messages of the next minutes
_AGAIN_MS = clock.DAY_MS
_COUNTED = frozenset({FacetKind.RECIPIENTS, FacetKind.GONE})  # belong to the counters
_BY_MESSAGE = {"sqlite": "INDEXED BY delivery_message_id", "mysql": "FORCE INDEX (delivery_message_id)"}
_PRIMARY = {"sqlite": "", "mysql": " FORCE INDEX (PRIMARY)"}


class _Round:
    """The domains that this process still has to walk before it rests."""

    owner: object = None
    next_ms = 0
    left: list[tuple[int, retention.Retention]] = []  # noqa: RUF012 - replaced, never shared


def collect() -> tuple[int, bool]:
    """One small step; returns how many messages it dealt with and whether there may be more to do."""
    now_ms = clock.now_ms()
    done = _due(now_ms)
    if done:
        return done, True
    if _Round.owner is not db.database.obj:
        _Round.owner, _Round.next_ms, _Round.left = db.database.obj, 0, []
    if not _Round.left:
        if now_ms < _Round.next_ms:
            return 0, False
        _Round.next_ms = now_ms + _ROUND_MS
        _Round.left = [
            (domain_id, retention.of_account(orjson.loads(options or "{}")))
            for domain_id, options in db.rows(
                "SELECT s.id, a.options FROM sender_domain s JOIN account a ON a.id = s.account_id"
            )
        ]
        return 0, bool(_Round.left)
    domain_id, kept = _Round.left[-1]
    done = sum(_walk(domain_id, part, kept.days(part) or 0, now_ms) for part in RetentionPart)
    if not done:
        done = _roll_ups(domain_id, kept, clock.day_number(now_ms))
        if _Round.left:
            _Round.left.pop()
    return done, True


def _due(now_ms: int) -> int:
    """Messages that have a time of their own."""
    rows = db.rows(
        "SELECT message_id, part FROM retention_due WHERE due_ms <= ? ORDER BY due_ms LIMIT ?", (now_ms, _BATCH)
    )
    for part in RetentionPart:
        ids = [message_id for message_id, its in rows if its == part]
        if not ids:
            continue
        live = sorted(_take(ids, part))
        statements = [
            (
                "UPDATE retention_due SET due_ms = ? WHERE part = ? AND message_id IN",
                (now_ms + _AGAIN_MS, int(part)),
                live,
            ),
            (
                "DELETE FROM retention_due WHERE due_ms <= ? AND part = ? AND message_id IN",
                (now_ms, int(part)),
                ids,
            ),
        ]
        _write(statements)
    return len(rows)


def _walk(domain_id: int, part: RetentionPart, days: int, now_ms: int) -> int:
    """The next messages of a domain whose days are over."""
    key = (domain_id, int(part))
    mark = db.rows("SELECT message_id FROM retention_mark WHERE domain_id = ? AND part = ?", key)
    before_ms = now_ms - max(days * clock.DAY_MS, _SETTLED_MS)
    ids: list[int] = []
    for id_, created_ms in db.rows(
        f"SELECT id, created_ms FROM message {MESSAGES_BY_ID[db.dialect()]} WHERE domain_id = ? AND id > ?"
        " ORDER BY id LIMIT ?",
        (domain_id, mark[0][0] if mark else 0, _BATCH),
    ):
        if created_ms >= before_ms:
            break
        ids.append(id_)
    if not ids:
        return 0
    marks = ",".join("?" * len(ids))
    own = db.rows(f"SELECT message_id FROM retention_due WHERE part = ? AND message_id IN ({marks})", (int(part), *ids))
    live = _take(sorted(set(ids) - {id_ for (id_,) in own}), part)

    def work(tx: db.Transaction) -> None:
        ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
        tx.executemany(
            f"{ignore} INTO retention_due (message_id, part, due_ms) VALUES (?, ?, ?)",
            [(id_, int(part), now_ms + _AGAIN_MS) for id_ in sorted(live)],
        )
        tx.execute(f"{ignore} INTO retention_mark (domain_id, part, message_id) VALUES (?, ?, 0)", key)
        tx.execute(
            "UPDATE retention_mark SET message_id = ? WHERE domain_id = ? AND part = ? AND message_id < ?",
            (ids[-1], *key, ids[-1]),
        )

    _transact(work)
    return len(ids)


def _take(ids: Sequence[int], part: RetentionPart) -> set[int]:
    """Take out that part of the messages; those that are not through yet stay and are returned."""
    if not ids:
        return set()
    live = _live(ids)
    over = [id_ for id_ in ids if id_ not in live]
    if over:
        _bodies(over)
        if part is RetentionPart.METADATA:
            _events(over)
            _deliveries(over)
            _messages(over)
    return live


def _live(ids: Sequence[int]) -> set[int]:
    """Those with a delivery, a list or a webhook that is still to come."""
    marks = ",".join("?" * len(ids))
    found = db.rows(
        f"SELECT DISTINCT message_id FROM delivery {_BY_MESSAGE[db.dialect()]} WHERE message_id IN ({marks})"
        " AND due_ms IS NOT NULL",
        ids,
    )
    found += db.rows(f"SELECT message_id FROM expansion WHERE message_id IN ({marks}) AND done_ms IS NULL", ids)
    accounts = db.rows(f"SELECT DISTINCT account_id FROM message{_PRIMARY[db.dialect()]} WHERE id IN ({marks})", ids)
    for (account_id,) in accounts:
        for webhook in db.rows("SELECT id FROM webhook WHERE account_id = ?", (account_id,)):
            found += db.rows(
                "SELECT DISTINCT message_id FROM webhook_delivery WHERE webhook_id = ?"
                f" AND message_id IN ({marks}) AND due_ms IS NOT NULL",
                (*webhook, *ids),
            )
    return {id_ for (id_,) in found}


def _bodies(ids: Sequence[int]) -> None:
    """Captured mail, merge fields, then the content where no other message has the same."""
    marks = ",".join("?" * len(ids))
    deliveries = db.rows(
        f"SELECT id, merge IS NOT NULL FROM delivery {_BY_MESSAGE[db.dialect()]} WHERE message_id IN ({marks})", ids
    )
    released: list[int] = []
    for some in _chunks([id_ for id_, _ in deliveries]):
        captured = db.rows(
            f"SELECT id, content_id FROM captured_mail WHERE delivery_id IN ({','.join('?' * len(some))})", some
        )
        released += [content_id for _, content_id in captured]
        if captured:
            _write([("DELETE FROM captured_mail WHERE id IN", (), [id_ for id_, _ in captured])])
    for some in _chunks([id_ for id_, merged in deliveries if merged]):
        _write([("UPDATE delivery SET merge = NULL WHERE id IN", (), some)])
    before_ms = clock.now_ms() - _SETTLED_MS

    def work(tx: db.Transaction) -> None:
        held = tx.rows(f"SELECT content_id FROM message WHERE id IN ({marks}) AND content_id <> 0", ids)
        tx.execute(f"UPDATE message SET content_id = 0 WHERE id IN ({marks}) AND content_id <> 0", ids)
        contents.release(tx, sorted({*released, *(content_id for (content_id,) in held)}), before_ms=before_ms)

    _transact(work)


def _events(ids: Sequence[int]) -> None:
    """With what the search knows of them; the counters keep them, and `GONE` says how many are no longer there."""
    marks = ",".join("?" * len(ids))
    while True:
        index = BY_MESSAGE[db.dialect()]
        found = [
            id_ for (id_,) in db.rows(f"SELECT id FROM event {index} WHERE message_id IN ({marks}) LIMIT {_CHUNK}", ids)
        ]
        if not found:
            return
        postings = search_index.postings_of(found)
        some = ",".join("?" * len(found))

        def work(tx: db.Transaction, found: list[int] = found, some: str = some, postings: Any = postings) -> None:
            lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
            gone = tx.rows(f"SELECT domain_id, at_ms, kind FROM event WHERE id IN ({some}){lock}", found)
            tx.execute(f"DELETE FROM event WHERE id IN ({some})", found)
            search_index.forget(tx, postings)
            ledger.count_gone(tx, gone)

        _transact(work)


def _deliveries(ids: Sequence[int]) -> None:
    marks = ",".join("?" * len(ids))
    found = db.rows(f"SELECT id FROM delivery {_BY_MESSAGE[db.dialect()]} WHERE message_id IN ({marks})", ids)
    for some in _chunks([id_ for (id_,) in found]):
        _write(
            [
                ("DELETE FROM attempt WHERE delivery_id IN", (), some),
                ("DELETE FROM handed_over WHERE delivery_id IN", (), some),
                ("DELETE FROM delivery WHERE due_ms IS NULL AND id IN", (), some),
            ]
        )


def _messages(ids: Sequence[int]) -> None:
    _write(
        [
            ("DELETE FROM expansion WHERE message_id IN", (), ids),
            ("DELETE FROM provider_event WHERE message_id IN", (), ids),
            ("DELETE FROM retention_due WHERE message_id IN", (), ids),
            ("DELETE FROM message WHERE id IN", (), ids),
        ]
    )


def _roll_ups(domain_id: int, kept: retention.Retention, today: int) -> int:
    """Whole days of facets and counters, a day a transaction."""
    metadata_days = kept.metadata or 0
    counter_days = max(config.settings().keep_counter_days, metadata_days)
    days = {
        facet: counter_days
        if facet in _COUNTED
        else min(metadata_days, statistics.HOUR_DAYS)
        if facet is FacetKind.HOUR
        else metadata_days
        for facet in FacetKind
    }
    done = _roll_up("counter", "domain_id = ?", (domain_id,), today - counter_days)
    for facet, most in days.items():
        done += _roll_up("facet", "domain_id = ? AND facet = ?", (domain_id, int(facet)), today - most)
    return done


def _roll_up(table: str, where: str, key: tuple[int, ...], first_day: int) -> int:
    done = 0
    while True:
        day = db.rows(f"SELECT MIN(day) FROM {table}{_PRIMARY[db.dialect()]} WHERE {where}", key)[0][0]
        if day is None or day >= first_day:
            return done
        done += _write([(f"DELETE FROM {table} WHERE {where} AND day IN", key, [day])])


def _chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


def _write(statements: Sequence[tuple[str, Sequence[int], Sequence[int]]]) -> int:
    """Statements, each with its values and the ids of its IN, in one short transaction; rows of the last."""

    def work(tx: db.Transaction) -> int:
        done = 0
        for sql, values, ids in statements:
            if ids:
                done = tx.execute(f"{sql} ({','.join('?' * len(ids))})", (*values, *ids)).rowcount
        return done

    return int(_transact(work) or 0)


def _transact(work: Callable[[db.Transaction], Any]) -> Any:
    """One short transaction, and a gap for the others."""
    started = time.monotonic()
    done = db.in_transaction(work)
    time.sleep((time.monotonic() - started) * _GAP)
    return done
