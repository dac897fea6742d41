"""Files of subscribers: taken in piece by piece, then put on their list behind the answer, batch by batch.

A batch, its errors and how far it got are one transaction: whoever is killed between two of them has done nothing by
halves, and whoever comes next goes on with the row behind the last batch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, config, errors, ids, jobs
from gateway.services import audit, identity, import_files, import_rows, lists, subscribers, suppression_csv
from gateway.services.identity import Caller
from gateway.services.import_rows import Fault, Row
from gateway.services.subscribers import Checked, Result
from models import database as db
from models.vocabulary import (
    IMPORT_DONE,
    IMPORT_FAILED,
    IMPORT_QUEUED,
    IMPORT_RECEIVING,
    IMPORT_RUNNING,
)

BATCH = 500
"""Rows of one transaction."""

KEEP_MS = 30 * clock.DAY_MS
"""How long an import and its errors can be looked at after its end."""

_LEASE_MS = 60_000
_GAP_S = 0.005
_ABANDONED_MS = clock.HOUR_MS
_CHUNK = 200
_COLUMNS = (
    "id, uuid, account_id, list_id, state, format, options, size, total, reached, line, done, added, updated,"
    " unchanged, failed, cause, fence, created_ms, started_ms, ended_ms, live"
)
_log = logging.getLogger("commandpost.imports")


@dataclass(frozen=True, slots=True)
class Import:
    """How far a file is; `total` counts its lines until it is done, and its rows then."""

    id: int
    uuid: UUID
    account_id: int
    list_id: int
    state: str
    format: str
    options: dict[str, Any]
    size: int
    total: int
    reached: int
    line: int
    done: int
    added: int
    updated: int
    unchanged: int
    failed: int
    cause: str
    fence: int
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    live: bool

    @property
    def mapping(self) -> dict[str, str | None]:
        return dict(self.options.get("mapping", {}))


def receive(
    *,
    caller: Caller,
    list_id: int,
    pieces: Iterable[bytes],
    format: str,
    encoding: str = "utf-8",
    mapping: Mapping[str, str | None] | None = None,
) -> Import:
    """Take a file in and have it put on the list behind the answer; from the return on it is kept.

    Raises `NotFound` (the list), `TooLarge`, and `Invalid` for an unknown encoding, an empty file, or columns of which
    none is the address; whatever the pieces raise goes through. Then nothing is kept.
    """
    found = lists.find(caller=caller, list_id=list_id)
    kept = import_files.in_pieces(import_files.utf8(pieces, encoding), config.settings().import_size)
    first = next(kept, b"")
    if not first.strip(b"\xef\xbb\xbf \t\r\n"):
        raise errors.Invalid("The file is empty.", field="file")
    mapping = dict(mapping or {})
    if format == import_rows.CSV:
        import_rows.head(first, mapping)
    made = db.in_transaction(lambda tx: _begin(tx, found, caller, format, mapping))
    try:
        size = import_files.keep(made, 0, first)
        newlines, last = first.count(b"\n"), first[-1:]
        for seq, piece in enumerate(kept, 1):
            size += import_files.keep(made, seq, piece)
            newlines, last = newlines + piece.count(b"\n"), piece[-1:]
        total = newlines + (last != b"\n") - (format == import_rows.CSV)

        def finish(tx: db.Transaction) -> bool:
            tx.after_commit(lambda: jobs.ring(jobs.IMPORT), key=jobs.IMPORT)
            told = {"list_id": list_id, "format": format, "bytes": size}
            audit.record(tx, caller=caller, action="import.create", what=f"import:{made}", after=told)
            return bool(
                tx.execute(
                    "UPDATE list_import SET state = ?, size = ?, total = ?, due_ms = ? WHERE id = ? AND state = ?",
                    (IMPORT_QUEUED, size, max(1, total), clock.now_ms(), made, IMPORT_RECEIVING),
                ).rowcount
            )

        if not db.in_transaction(finish):  # it took so long that it was taken for abandoned
            raise errors.Invalid("The file came too slowly.", field="file")
    except BaseException:
        _drop(made)
        raise
    return _load(made)


def _begin(
    tx: db.Transaction, found: lists.MailList, caller: Caller, format: str, mapping: Mapping[str, str | None]
) -> int:
    cursor = tx.execute(
        "INSERT INTO list_import (uuid, account_id, list_id, state, format, options, size, total, reached, line, done,"
        " added, updated, unchanged, failed, cause, fence, created_ms, live)"
        " VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0, ?, ?)",
        (
            ids.new_uuid().bytes, caller.account_id, found.id, IMPORT_RECEIVING, format,
            orjson.dumps({"mapping": mapping}).decode(), clock.now_ms(), caller.live,
        ),
    )  # fmt: skip
    return int(cursor.lastrowid)


def _drop(import_id: int) -> None:
    try:
        import_files.delete(import_id)
        db.in_transaction(lambda tx: tx.execute("DELETE FROM list_import WHERE id = ?", (import_id,)))
    except db.StoreUnavailable:  # housekeeping finds it
        _log.warning("import_not_dropped", extra={"import_id": import_id})


def find(*, caller: Caller, list_id: int, uuid: UUID | None) -> Import:
    """Raises `NotFound`."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM list_import WHERE uuid = ? AND account_id = ? AND list_id = ? AND state <> ?",
        (b"" if uuid is None else uuid.bytes, caller.account_id, list_id, IMPORT_RECEIVING),
    )
    if not rows:
        raise errors.NotFound(what="import")
    return _shown(rows[0])


def page(*, caller: Caller, list_id: int, count: int, before: int | None = None) -> list[Import]:
    """The imports of a list, the latest first, with numbers below `before`; raises `NotFound` (the list)."""
    lists.find(caller=caller, list_id=list_id)
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM list_import WHERE list_id = ? AND account_id = ? AND state <> ? AND id < ?"
        " ORDER BY id DESC LIMIT ?",
        (list_id, caller.account_id, IMPORT_RECEIVING, before or 2**31 - 1, count),
    )
    return [_shown(row) for row in rows]


def error_file(one: Import) -> Iterator[str]:
    """The rows that were not taken as CSV (RFC 4180), in pieces: line, column, value, reason."""
    yield "line,column,value,reason\r\n"
    line, seq = 0, 0
    while True:
        rows = db.rows(
            "SELECT line, seq, field, value, reason FROM list_import_error WHERE import_id = ?"
            " AND (line > ? OR (line = ? AND seq > ?)) ORDER BY line, seq LIMIT 1000",
            (one.id, line, line, seq),
        )
        if not rows:
            return
        yield suppression_csv.lines((row[0], *row[2:]) for row in rows)
        line, seq = rows[-1][0], rows[-1][1]


def drain(seconds: float) -> int:
    """Put rows on their lists, for up to `seconds`; returns how many rows were dealt with.

    Safe to run anywhere, at any time, twice at once: a file is one worker's until its lease runs out.
    """
    end = time.monotonic() + seconds
    total = 0
    for import_id, due_ms in db.rows(
        "SELECT id, due_ms FROM list_import WHERE due_ms <= ? ORDER BY due_ms LIMIT 20", (clock.now_ms(),)
    ):
        job = _claim(import_id, due_ms)
        if job is not None:
            total += _work(job, end)
        if time.monotonic() >= end:
            break
    return total


def _claim(import_id: int, due_ms: int) -> Import | None:
    now = clock.now_ms()
    mine: int = db.in_transaction(
        lambda tx: (
            tx.execute(
                "UPDATE list_import SET due_ms = ?, fence = fence + 1, state = ?, started_ms = COALESCE(started_ms, ?)"
                " WHERE id = ? AND due_ms = ?",
                (now + _LEASE_MS, IMPORT_RUNNING, now, import_id, due_ms),
            ).rowcount
        )
    )
    return _load(import_id) if mine else None


def _work(job: Import, end: float) -> int:
    caller = replace(identity.for_account(job.account_id), live=job.live)
    done, batch = 0, list[Row]()
    rows = _rows(job)
    while True:
        row = next(rows, None)
        if row is not None:
            batch.append(row)
            if len(batch) < BATCH:
                continue
        over = row is None
        late = time.monotonic() >= end
        try:
            kept = _apply_all(job, caller, batch, over=over, late=late)
        except errors.NotFound:
            _fail(job, "the list was deleted")
            return done
        if not kept:  # another has it
            return done
        done += len(batch)
        if over:
            import_files.delete(job.id)
        if over or late:
            return done
        batch = []
        time.sleep(_GAP_S)  # the write lock is not fair: leave others room


def _rows(job: Import) -> Iterator[Row]:
    head = None
    if job.format == import_rows.CSV:
        first = db.rows("SELECT body FROM list_import_part WHERE import_id = ? AND seq = 0", (job.id,))
        head = import_rows.head(bytes(first[0][0]) if first else b"", job.mapping)
    return import_rows.rows(
        import_files.stored(job.id, job.reached),
        format=job.format,
        head=head,
        mapping=job.mapping,
        at=job.reached,
        line=job.line,
    )


def _apply_all(job: Import, caller: Caller, batch: Sequence[Row], *, over: bool, late: bool) -> bool:
    """A batch or, where the database does not take it, its rows one by one: none of them keeps the others."""
    try:
        return _apply(job, caller, batch, over=over, late=late)
    except (db.StoreUnavailable, errors.NotFound):
        raise
    except Exception:
        _log.exception("batch_not_stored", extra={"import_id": job.id, "rows": len(batch)})
    for number, row in enumerate(batch):
        last = number == len(batch) - 1
        try:
            kept = _apply(job, caller, [row], over=over and last, late=late)
        except (db.StoreUnavailable, errors.NotFound):
            raise
        except Exception:
            bad = Row(row.line, row.end, row.next_line, faults=[Fault("", "", "cannot be stored")])
            kept = _apply(job, caller, [bad], over=over and last, late=late)
        if not kept:
            return False
    return True


def _apply(job: Import, caller: Caller, batch: Sequence[Row], *, over: bool, late: bool) -> bool:
    """One batch in one transaction; False where the lease was lost."""
    checked: list[tuple[Row, Checked]] = []
    faults: list[tuple[int, Fault]] = []
    for row in batch:
        faults += ((row.line, fault) for fault in row.faults)
        if row.new is None:
            continue
        try:
            checked.append((row, subscribers.check(row.new)))
        except errors.Invalid as error:
            faults.append((row.line, _fault(row, error)))

    def work(tx: db.Transaction) -> bool:
        now = clock.now_ms()
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        mine = tx.rows(f"SELECT id FROM list_import WHERE id = ? AND fence = ?{lock}", (job.id, job.fence))
        if not mine:
            return False
        results = subscribers.put(tx, caller=caller, list_id=job.list_id, items=[one for _, one in checked], told=False)
        refused = [
            (row.line, _fault(row, result.refusal))
            for (row, _), result in zip(checked, results, strict=True)
            if result.refusal is not None
        ]
        _note(tx, job.id, sorted([*faults, *refused], key=lambda one: one[0]))
        counts = [result.result for result in results if result.refusal is None]
        tx.execute(
            "UPDATE list_import SET reached = ?, line = ?, done = done + ?, added = added + ?, updated = updated + ?,"
            " unchanged = unchanged + ?, failed = failed + ?, state = ?, due_ms = ?, ended_ms = ? WHERE id = ?",
            (
                batch[-1].end if batch else job.size, batch[-1].next_line if batch else job.line, len(batch),
                counts.count(Result.ADDED), counts.count(Result.UPDATED), counts.count(Result.UNCHANGED),
                len(batch) - len(counts), IMPORT_DONE if over else IMPORT_RUNNING,
                None if over else now if late else now + _LEASE_MS, now if over else None, job.id,
            ),
        )  # fmt: skip
        if over:
            tx.execute("UPDATE list_import SET total = done WHERE id = ?", (job.id,))
        return True

    return db.in_transaction(work)


def _fault(row: Row, error: errors.GatewayError) -> Fault:
    if isinstance(error, errors.InvalidAddress):
        email = row.new.email if row.new is not None else ""
        return Fault(import_rows.EMAIL, import_rows.shown(email), "is not an email address" if email else "is missing")
    return Fault("", "", error.message[:255])


def _note(tx: db.Transaction, import_id: int, faults: Sequence[tuple[int, Fault]]) -> None:
    seen: dict[int, int] = {}
    values: list[tuple[Any, ...]] = []
    for line, fault in faults:
        seen[line] = seen.get(line, -1) + 1
        values.append((import_id, line, seen[line], fault.column[:255], fault.value[:320], fault.reason[:255]))
    for start in range(0, len(values), _CHUNK):
        some = values[start : start + _CHUNK]
        tx.execute(
            "INSERT INTO list_import_error (import_id, line, seq, field, value, reason)"
            f" VALUES {','.join(['(?,?,?,?,?,?)'] * len(some))}",
            [value for row in some for value in row],
        )


def _fail(job: Import, cause: str) -> None:
    db.in_transaction(
        lambda tx: tx.execute(
            "UPDATE list_import SET state = ?, cause = ?, due_ms = NULL, ended_ms = ? WHERE id = ? AND fence = ?",
            (IMPORT_FAILED, cause, clock.now_ms(), job.id, job.fence),
        )
    )
    import_files.delete(job.id)


def collect() -> tuple[int, bool]:
    """Forget imports that ended long ago, files that never came in whole, and what is left of ended ones."""
    now = clock.now_ms()
    old = db.rows(
        "SELECT id FROM list_import WHERE ended_ms < ? OR (state = ? AND created_ms < ?) LIMIT 10",
        (now - KEEP_MS, IMPORT_RECEIVING, now - _ABANDONED_MS),
    )
    left = db.rows(
        "SELECT DISTINCT p.import_id FROM list_import_part p LEFT JOIN list_import i ON i.id = p.import_id"
        " WHERE i.id IS NULL OR i.ended_ms IS NOT NULL LIMIT 10"
    )
    for (import_id,) in left:
        import_files.delete(import_id)
    gone = 0
    for (import_id,) in old:
        import_files.delete(import_id)
        gone += db.in_transaction(lambda tx, one=import_id: _forget(tx, one))  # type: ignore[misc]
    return gone + len(left), bool(old or left)


def _forget(tx: db.Transaction, import_id: int) -> int:
    rows = tx.rows("SELECT line, seq FROM list_import_error WHERE import_id = ? LIMIT 2000", (import_id,))
    tx.executemany(
        "DELETE FROM list_import_error WHERE import_id = ? AND line = ? AND seq = ?",
        [(import_id, *row) for row in rows],
    )
    if len(rows) < 2000:
        tx.execute("DELETE FROM list_import WHERE id = ?", (import_id,))
    return len(rows) + 1


def _load(import_id: int) -> Import:
    return _shown(db.rows(f"SELECT {_COLUMNS} FROM list_import WHERE id = ?", (import_id,))[0])


def _shown(row: tuple[Any, ...]) -> Import:
    values = list(row)
    values[1], values[6] = UUID(bytes=bytes(row[1])), orjson.loads(row[6] or "{}")
    return Import(*values)
