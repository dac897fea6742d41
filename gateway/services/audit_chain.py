"""Entries take their place in the chain: batches of calls from the spool and of changes, hashed, sealed and signed."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence

import orjson

from gateway import clock, config, ids
from gateway.services import audit_entries, audit_head
from gateway.services.audit_calls import place
from gateway.services.audit_entries import Entry
from gateway.services.spool import SEALED_MOST, Sealed
from models import database as db
from models.vocabulary import AuditKind

_BATCH = 200
_SEAL_MS = 1000
_GAP_S = 0.002  # SQLite has one writer: requests come in between
_ORPHANS_MS = 30 * clock.DAY_MS
_OLDEST = "SELECT seq, hash, at_ms FROM audit_entry WHERE seq > ? ORDER BY seq LIMIT {}"
_WAITING = "SELECT {columns} FROM audit_entry{index} WHERE seq IS NULL AND hash = '' ORDER BY id LIMIT {most}"
_BY_SEQ = {"sqlite": "", "mysql": " FORCE INDEX (auditentry_seq)"}
_LENGTHS = (254, 8, 120, 190, 45, 64, 8, 64)  # of the texts of a line
_log = logging.getLogger("commandpost.audit")


class _Overtaken(Exception):
    """Another reader is at the same file, where a shared folder does not keep the lock: it goes on alone."""


def run(seconds: float) -> int:
    """Bring what waits into the chain, for up to `seconds`; returns how many entries that were.

    Safe to run anywhere, at any time, twice at once.
    """
    end = time.monotonic() + seconds
    count = 0
    with place.reading() as alone:
        if alone and place.waiting():
            files = place.sealed()
            if len(files) < SEALED_MOST and not (files and 0 <= clock.now_ms() - files[-1].at_ms < _SEAL_MS):
                made = place.seal()
                files += [made] if made is not None else []
            for file in files:
                count += _flush(file, end)
    while time.monotonic() < end and db.rows(_WAITING.format(columns="1", index=_BY_SEQ[db.dialect()], most=1)):
        count += db.in_transaction(lambda tx: _chain(tx, []))
        time.sleep(_GAP_S)
    audit_head.remember()
    return count


def _flush(file: Sealed, until: float) -> int:
    done = _done(file.name)
    count = 0
    while lines := file.lines(done, _BATCH):
        if time.monotonic() > until:
            return count
        end = lines[-1][1]
        entries = [entry for line, _ in lines if (entry := _parsed(line)) is not None]
        try:
            count += db.in_transaction(lambda tx: _write(tx, file.name, done, end, entries))  # noqa: B023 - runs now
        except _Overtaken:
            return count
        done = end
        time.sleep(_GAP_S)
    file.remove()
    db.in_transaction(lambda tx: _forget(tx, file.name))
    return count


def _done(name: str) -> int:
    rows = db.rows("SELECT done FROM audit_spool WHERE name = ?", (name,))
    return int(rows[0][0]) if rows else 0


def _forget(tx: db.Transaction, name: str) -> None:
    """The mark goes after its file; one whose file went in a crash is collected by age."""
    tx.execute("DELETE FROM audit_spool WHERE name = ? OR at_ms < ?", (name, clock.now_ms() - _ORPHANS_MS))


def _parsed(line: bytes) -> Entry | None:
    """The entry of a line of `audit_calls.keep`; None for one that was cut off."""
    try:
        at_ms, account_id, actor, key_id, door, action, what, ip, request_id, result, status, code = orjson.loads(line)
        numbers = (at_ms, account_id, *(n for n in (key_id, status) if n is not None))
        texts = (actor, door, action, what, ip, request_id, result, code)
        if not all(isinstance(n, int) for n in numbers) or not all(isinstance(text, str) for text in texts):
            raise TypeError
    except (orjson.JSONDecodeError, ValueError, TypeError):
        _log.warning("audit_line_not_read", extra={"bytes": len(line)})
        return None
    texts = tuple(text.replace("\0", "")[:most] for text, most in zip(texts, _LENGTHS, strict=True))
    actor, door, action, what, ip, request_id, result, code = texts
    return Entry(
        0, None, ids.new_uuid(), account_id, at_ms, int(AuditKind.CALL), actor, key_id, "", door, action, what, ip,
        request_id, result, status, code, None, "", "",
    )  # fmt: skip


def _write(tx: db.Transaction, name: str, start: int, end: int, entries: list[Entry]) -> int:
    """Entries and the mark in one commit: a call is told once, whatever dies when."""
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    rows = tx.rows(f"SELECT done FROM audit_spool WHERE name = ?{lock}", (name,))
    if (int(rows[0][0]) if rows else 0) != start:
        raise _Overtaken
    if rows:
        tx.execute("UPDATE audit_spool SET done = ?, at_ms = ? WHERE name = ?", (end, clock.now_ms(), name))
    else:
        tx.execute("INSERT INTO audit_spool (name, done, at_ms) VALUES (?, ?, ?)", (name, end, clock.now_ms()))
    return _chain(tx, entries)


def _chain(tx: db.Transaction, calls: Sequence[Entry]) -> int:
    """Give the calls and the changes that wait their places, in the order of their times, and sign the new end."""
    head = audit_head.locked(tx)
    sql = _WAITING.format(columns=audit_entries.COLUMNS, index=_BY_SEQ[tx.dialect], most=_BATCH)
    waiting = _ours(tx, [Entry.of(row) for row in tx.rows(sql)])
    entries = sorted([*waiting, *calls], key=lambda entry: entry.at_ms)
    if not entries:
        return 0
    prefixes = _prefixes(tx, {entry.key_id for entry in entries if entry.key_id is not None})
    seq, hash_ = head.last_seq, head.last_hash
    for entry in entries:
        seq += 1
        entry.seq, entry.key_prefix = seq, prefixes.get(entry.key_id or 0, "")
        hash_ = entry.hash = audit_entries.digest(entry, hash_)
        entry.mac = audit_entries.seal(hash_)
    audit_entries.insert(tx, [entry for entry in entries if not entry.id])
    tx.executemany(
        "UPDATE audit_entry SET seq = ?, key_prefix = ?, hash = ?, mac = ? WHERE id = ? AND seq IS NULL",
        [(entry.seq, entry.key_prefix, entry.hash, entry.mac, entry.id) for entry in entries if entry.id],
    )
    audit_head.write(tx, dataclasses.replace(head, last_seq=seq, last_hash=hash_, at_ms=clock.now_ms()))
    return len(entries)


def _ours(tx: db.Transaction, waiting: Sequence[Entry]) -> list[Entry]:
    """Without those that were put in, or altered, by somebody who has not the secret: they get no place, and stay."""
    foreign = [entry.id for entry in waiting if not _is_ours(entry)]
    if foreign:
        _log.error("audit_entries_are_foreign", extra={"rows": foreign})
        marks = ", ".join("?" * len(foreign))
        tx.execute(f"UPDATE audit_entry SET hash = ? WHERE id IN ({marks})", (audit_entries.FOREIGN, *foreign))
    return [entry for entry in waiting if entry.id not in foreign]


def _is_ours(entry: Entry) -> bool:
    try:
        return audit_entries.is_ours(entry)
    except ValueError:  # a kind or data that no entry has
        return False


def _prefixes(tx: db.Transaction, key_ids: set[int]) -> dict[int, str]:
    if not key_ids:
        return {}
    marks = ", ".join("?" * len(key_ids))
    return dict(tx.rows(f"SELECT id, prefix FROM api_key WHERE id IN ({marks})", sorted(key_ids)))


def cut(before_ms: int) -> int:
    """Take out the oldest entries, up to the first that is not older than that; returns how many went.

    The signed head says up to where, so that what is left is still a whole chain. Where entries are missing
    already, nothing is taken out any more: what is left is evidence.
    """

    def work(tx: db.Transaction) -> int:
        head = audit_head.locked(tx)
        rows = tx.rows(_OLDEST.format(_BATCH), (head.first_seq,))
        old = 0
        for seq, _, at_ms in rows:
            if at_ms >= before_ms or seq != head.first_seq + old + 1:
                break
            old += 1
        if not old:
            return 0
        last, hash_, _ = rows[old - 1]
        tx.execute("DELETE FROM audit_entry WHERE seq <= ?", (last,))
        audit_head.write(tx, dataclasses.replace(head, first_seq=last, first_hash=hash_, at_ms=clock.now_ms()))
        return old

    head = audit_head.read()
    oldest = db.rows(_OLDEST.format(1), (head.first_seq,)) if head is not None else []
    return db.in_transaction(work) if oldest and oldest[0][2] < before_ms else 0


def collect() -> tuple[int, bool]:
    """One step of housekeeping: a batch of entries older than they are kept; how many went, whether to go on."""
    gone = cut(clock.now_ms() - config.settings().keep_audit_days * clock.DAY_MS)
    return gone, gone == _BATCH
