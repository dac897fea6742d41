"""When each address last got, opened, clicked or bounced mail of an account, for segments; written behind the hot path.

A reader of the event log keeps one row for an address, one for each tag and one for the campaign of the messages. Only
accounts that have a list have such rows: what happened before their first list was made is not known.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from gateway import clock, config
from gateway.services import event_marks, hit_verdicts, suppressions
from gateway.services.segment_conditions import ANY_MESSAGE, TAG, Behaviour
from models import database as db
from models.vocabulary import EventKind

_COLUMNS = {
    EventKind.DELIVERED: 0,
    EventKind.OPENED: 1,
    EventKind.CLICKED: 2,
    EventKind.BOUNCED: 3,
}
_NAMES = ("delivered_ms", "opened_ms", "clicked_ms", "bounced_ms")
_BATCH = 1000
_CHUNK = 200
_WRITTEN = 1000  # rows of one transaction
_GAP = 0.25  # the pause after a transaction, as a part of how long it took
_LATER = {
    "sqlite": " ON CONFLICT (account_id, address, mark) DO UPDATE SET "
    + ", ".join(f"{name} = MAX({name}, excluded.{name})" for name in _NAMES),
    "mysql": " ON DUPLICATE KEY UPDATE " + ", ".join(f"{name} = GREATEST({name}, VALUES({name}))" for name in _NAMES),
}

_Key = tuple[int, str, str]  # account, address, mark


def run(seconds: float) -> int:
    """Read what is new in the log, for up to `seconds`; returns how many events were read.

    Safe to run anywhere, at any time: whoever holds the lease works, the others return at once. A batch that was
    written twice changes nothing.
    """
    end = time.monotonic() + seconds
    turn = event_marks.begin(event_marks.ENGAGEMENT)
    if turn is None:
        return 0
    done, at = 0, turn.at
    accounts = {account_id for (account_id,) in db.rows("SELECT DISTINCT account_id FROM mail_list")}
    try:
        while time.monotonic() < end:
            events = db.rows(
                "SELECT id, account_id, kind, at_ms, message_id, rcpt, data FROM event WHERE id > ? AND id <= ?"
                f" ORDER BY id LIMIT {_BATCH}",
                (at, turn.limit),
            )
            if not events:
                break
            at = events[-1][0]
            _write(_rows(events, accounts), at)
            done += len(events)
    finally:
        event_marks.end(event_marks.ENGAGEMENT)
    return done


def _rows(events: Sequence[tuple[Any, ...]], accounts: set[int]) -> dict[_Key, list[int]]:
    """The latest time of each kind, in the order of `_NAMES`."""
    told = [row for row in events if row[1] in accounts and row[2] in _COLUMNS and row[5] and not _by_machine(row)]
    marks = _marks(sorted({row[4] for row in told}))
    found: dict[_Key, list[int]] = {}
    for _, account_id, kind, at_ms, message_id, rcpt, _ in told:
        address, column = suppressions.normalise(rcpt), _COLUMNS[EventKind(kind)]
        for mark in marks.get(message_id, (ANY_MESSAGE,)):
            times = found.setdefault((account_id, address, mark), [0, 0, 0, 0])
            times[column] = max(times[column], at_ms)
    return found


def _by_machine(row: tuple[Any, ...]) -> bool:
    """Proxies and scanners open and click too: that says nothing of the person."""
    if row[2] not in (EventKind.OPENED, EventKind.CLICKED) or not row[6]:
        return False
    return bool(orjson.loads(row[6]).get("verdict") == hit_verdicts.MACHINE)


def _marks(message_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for start in range(0, len(message_ids), _CHUNK):
        some = message_ids[start : start + _CHUNK]
        for message_id, tags, origin in db.rows(
            f"SELECT id, tags, origin FROM message WHERE id IN ({','.join('?' * len(some))})", some
        ):
            marks = {ANY_MESSAGE, *(TAG + tag[:190] for tag in orjson.loads(tags or "[]"))}
            found[message_id] = tuple(marks | {origin}) if origin else tuple(marks)
    return found


def _write(found: dict[_Key, list[int]], event_id: int) -> None:
    """In short transactions, sorted; the mark moves with the last."""
    rows = sorted(found.items())
    pieces = [rows[start : start + _WRITTEN] for start in range(0, len(rows), _WRITTEN)] or [[]]
    for number, piece in enumerate(pieces):

        def work(
            tx: db.Transaction, piece: list[tuple[_Key, list[int]]] = piece, last: bool = number == len(pieces) - 1
        ) -> None:
            for start in range(0, len(piece), _CHUNK):
                some = piece[start : start + _CHUNK]
                tx.execute(
                    f"INSERT INTO engagement (account_id, address, mark, {', '.join(_NAMES)})"
                    f" VALUES {','.join(['(?,?,?,?,?,?,?)'] * len(some))}{_LATER[tx.dialect]}",
                    [value for key, times in some for value in (*key, *times)],
                )
            if last:
                event_marks.move(tx, event_marks.ENGAGEMENT, event_id)

        started = time.monotonic()
        db.in_transaction(work)
        time.sleep((time.monotonic() - started) * _GAP)


def of(
    tx: db.Transaction | None, *, account_id: int, addresses: Sequence[str], marks: Iterable[str]
) -> dict[str, dict[str, Behaviour]]:
    """What is known of these normalised addresses, by address and mark; one read of the key for 500 addresses."""
    read = db.rows if tx is None else tx.rows
    # The optimiser must not choose: of so many addresses it would rather read everything.
    use = "FORCE INDEX (PRIMARY)" if (db.dialect() if tx is None else tx.dialect) == "mysql" else ""
    wanted = sorted(marks)
    found: dict[str, dict[str, Behaviour]] = {}
    for start in range(0, len(addresses) if wanted else 0, 500):
        some = addresses[start : start + 500]
        for address, mark, *times in read(
            f"SELECT address, mark, {', '.join(_NAMES)} FROM engagement {use} WHERE account_id = ?"
            f" AND address IN ({','.join('?' * len(some))}) AND mark IN ({','.join('?' * len(wanted))})",
            (account_id, *some, *wanted),
        ):
            found.setdefault(address, {})[mark] = Behaviour(*times)
    return found


class _Mark:
    """How far this process has looked for rows that are past their time."""

    owner: object = None
    key: _Key = (0, "", "")  # of the last row that was looked at


def collect() -> tuple[int, bool]:
    """Forget what is older than the metadata of messages is kept; part of housekeeping, a window at a time."""
    if _Mark.owner is not db.database.obj:
        _Mark.owner, _Mark.key = db.database.obj, (0, "", "")
    before_ms = clock.now_ms() - config.settings().keep_metadata_days * clock.DAY_MS
    rows: list[tuple[Any, ...]] = []
    # MySQL finds no place in the key by a comparison of tuples.
    for where, behind in (
        ("account_id = ? AND address = ? AND mark > ?", _Mark.key),
        ("account_id = ? AND address > ?", _Mark.key[:2]),
        ("account_id > ?", _Mark.key[:1]),
    ):
        rows = db.rows(
            f"SELECT account_id, address, mark, {', '.join(_NAMES)} FROM engagement WHERE {where}"
            f" ORDER BY account_id, address, mark LIMIT {_BATCH}",
            behind,
        )
        if rows:
            break
    old = [row[:3] for row in rows if max(row[3:]) < before_ms]
    if old:
        db.in_transaction(
            lambda tx: tx.executemany(
                "DELETE FROM engagement WHERE account_id = ? AND address = ? AND mark = ?"
                f" AND {' AND '.join(f'{name} < {before_ms}' for name in _NAMES)}",
                old,
            )
        )
    _Mark.key = rows[-1][:3] if rows else (0, "", "")
    return len(old), bool(old)
