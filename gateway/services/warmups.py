"""Senders that begin small: enrolled, given places of the day one by one, grown from day to day, shown and ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway import clock, errors
from gateway.services import audit, mailboxes, reach, warmup_plan
from gateway.services.identity import Caller
from gateway.services.mailboxes import Mailbox
from gateway.services.warmup_plan import Results
from models import database as db
from models.vocabulary import EventKind

KEEP_DAYS = 60
"""Days that places and limits of the past are kept."""
RECENT_DAYS = 7
"""The days that a health score is of."""
GOAL_MOST = 1_000_000
_BATCH = 500
_COLUMNS = (
    "id, account_id, domain_id, mailbox_id, source, provider, goal, day, day_limit, used, reason, done_ms, created_ms"
)
_COUNTED = {
    EventKind.DELIVERED: "delivered",
    EventKind.DEFERRED: "deferred",
    EventKind.BOUNCED: "bounced",
    EventKind.COMPLAINED: "complained",
    EventKind.OPENED: "opened",
    EventKind.CLICKED: "clicked",
    EventKind.REPLIED: "replied",
}


@dataclass(frozen=True, slots=True)
class Warmup:
    """One sender; `provider` '' of a source address: the pattern that each provider begins with."""

    id: int
    account_id: int
    domain_id: int
    mailbox_id: int
    source: str
    provider: str
    goal: int
    day: int
    day_limit: int
    used: int
    reason: str
    done_ms: int | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class Shown:
    """One sender as it is shown: the results of today and of the last days, and the limits that were."""

    warmup: Warmup
    name: str
    domain: str
    today: Results
    recent: Results
    past: list[tuple[int, int, int]]  # day, limit, used


@dataclass(frozen=True, slots=True)
class Granted:
    """Which deliveries may go today; the others wait for the next day, of which `limit` was known last."""

    ids: set[int]
    limit: int


def add(*, caller: Caller, address: str, goal: int = warmup_plan.GOAL, first: int = warmup_plan.FIRST) -> Warmup:
    """Let a mailbox begin small; one that was warmed up before begins anew.

    Raises `NotFound` (the domain), `NoSuchMailbox`, `WarmupExists`, `Invalid`.
    """
    mailbox = mailboxes.find(caller=caller, address=address)
    return _add(caller, mailbox=mailbox, source="", goal=goal, first=first)


def add_source(*, address: str, goal: int = warmup_plan.GOAL, first: int = warmup_plan.FIRST) -> Warmup:
    """The same for a source address of this installation, towards each provider by itself; for the operator."""
    return _add(None, mailbox=None, source=address, goal=goal, first=first)


def _add(caller: Caller | None, *, mailbox: Mailbox | None, source: str, goal: int, first: int) -> Warmup:
    if not 0 < first <= goal <= GOAL_MOST:
        raise errors.Invalid(f"goal should be from dailyLimit to {GOAL_MOST}.", field="goal")
    mailbox_id = mailbox.id if mailbox is not None else 0
    account_id, domain_id = (mailbox.account_id, mailbox.domain_id) if mailbox is not None else (0, 0)
    now = clock.now_ms()

    def work(tx: db.Transaction) -> int:
        where = "mailbox_id = ? AND source = ?"
        rows = tx.rows(f"SELECT id, done_ms FROM warmup WHERE {where}", (mailbox_id, source))
        if any(done_ms is None for _, done_ms in rows):
            raise errors.WarmupExists
        _forget(tx, [id_ for id_, _ in rows])
        made = tx.execute(
            "INSERT INTO warmup (account_id, domain_id, mailbox_id, source, provider, goal, day, day_limit, used,"
            " reason, created_ms) VALUES (?, ?, ?, ?, '', ?, ?, ?, 0, 'the first day', ?)",
            (account_id, domain_id, mailbox_id, source, goal, clock.day_number(now), first, now),
        )
        told = {"daily_limit": first, "goal": goal}
        what = f"warmup:{mailbox.address if mailbox is not None else source}"
        audit.record(tx, caller=caller, account_id=account_id, action="warmup.create", what=what, after=told)
        return int(made.lastrowid)

    return _one(int(db.in_transaction(work)))


def end(*, caller: Caller, address: str) -> None:
    """Lift the limit of a mailbox at once; raises `NoSuchMailbox` and `NotFound` (it has none)."""
    mailbox = mailboxes.find(caller=caller, address=address)
    _end(caller, "mailbox_id = ?", mailbox.id, mailbox.address)


def end_source(*, address: str) -> None:
    """Lift the limits of a source address, towards every provider; raises `NotFound`."""
    _end(None, "source = ?", address, address)


def _end(caller: Caller | None, where: str, value: int | str, name: str) -> None:
    def work(tx: db.Transaction) -> int:
        sql = f"UPDATE warmup SET done_ms = ?, reason = 'ended by hand' WHERE {where} AND done_ms IS NULL"
        done = int(tx.execute(sql, (clock.now_ms(), value)).rowcount)
        if done:
            audit.record(tx, caller=caller, action="warmup.end", what=f"warmup:{name}")
        return done

    if not db.in_transaction(work):
        raise errors.NotFound("It is not warmed up.", what="warmup")


def list_(*, caller: Caller, address: str = "") -> list[Shown]:
    """The mailboxes of the key's domain (or of all domains) that are or were warmed up; of one mailbox where named.

    Raises `NotFound` for a mailbox that is not there.
    """
    domains = {domain.id: domain.name for domain in reach.chosen(caller=caller)}
    if not domains:
        return []
    rows = db.rows(
        f"SELECT {', '.join(f'w.{name.strip()}' for name in _COLUMNS.split(','))}, b.local FROM warmup w"
        " JOIN mailbox b ON b.id = w.mailbox_id AND b.deleted_ms IS NULL"
        f" WHERE w.account_id = ? AND w.domain_id IN ({','.join('?' * len(domains))}) ORDER BY w.id",
        (caller.account_id, *domains),
    )
    found = [(Warmup(*row[:-1]), f"{row[-1]}@{domains[row[2]]}", domains[row[2]]) for row in rows]
    if address:
        wanted = address.strip().lower()
        found = [one for one in found if wanted in (one[1], one[1].partition("@")[0])]
        if not found:
            if caller.domain_id is None:
                raise errors.NoSuchMailbox
            mailboxes.find(caller=caller, address=address)
    return [_shown(*one) for one in found]


def list_sources() -> list[Shown]:
    """What source addresses may send to each provider."""
    rows = db.rows(f"SELECT {_COLUMNS} FROM warmup WHERE source <> '' ORDER BY source, provider")
    return [_shown(Warmup(*row), f"{row[4]} → {row[5] or 'each provider'}", "") for row in rows]


def _shown(warmup: Warmup, name: str, domain: str) -> Shown:
    current = _current(warmup)
    today = clock.day_number(clock.now_ms())
    past = db.rows(
        "SELECT day, day_limit, used FROM warmup_day WHERE warmup_id = ? ORDER BY day DESC LIMIT 30", (warmup.id,)
    )
    return Shown(
        current, name, domain, _results(db.rows, warmup.id, today, today),
        _results(db.rows, warmup.id, today - RECENT_DAYS + 1, today), [(int(d), int(m), int(n)) for d, m, n in past],
    )  # fmt: skip


def _current(warmup: Warmup) -> Warmup:
    """With the limit of today: a new day begins when somebody looks."""
    if warmup.done_ms is not None or warmup.day >= clock.day_number(clock.now_ms()):
        return warmup
    db.in_transaction(lambda tx: _roll(tx, warmup.id))
    return _one(warmup.id)


def _one(warmup_id: int) -> Warmup:
    return Warmup(*db.rows(f"SELECT {_COLUMNS} FROM warmup WHERE id = ?", (warmup_id,))[0])


def grant(warmup_id: int, delivery_ids: Sequence[int], *, provider: str = "") -> Granted:
    """Give these deliveries places of today, as far as there are some; who has one from before keeps it.

    Exact over all processes: the row is held while its places are counted. With `provider` the row is the pattern
    of a source address, and the places are those of that provider, which begins now where it is new.
    """

    def work(tx: db.Transaction) -> Granted:
        number = _of_provider(tx, warmup_id, provider) if provider else warmup_id
        warmup = _roll(tx, number)
        marks = ",".join("?" * len(delivery_ids))
        have = {
            id_
            for (id_,) in tx.rows(
                f"SELECT delivery_id FROM warmup_grant WHERE warmup_id = ? AND delivery_id IN ({marks})",
                (number, *delivery_ids),
            )
        }
        if warmup is None or warmup.done_ms is not None:
            return Granted(set(delivery_ids), 0)
        room = max(0, warmup.day_limit - warmup.used)
        fresh = [id_ for id_ in delivery_ids if id_ not in have][:room]
        if fresh:
            tx.executemany(
                "INSERT INTO warmup_grant (warmup_id, delivery_id, day) VALUES (?, ?, ?)",
                [(number, id_, warmup.day) for id_ in fresh],
            )
            tx.execute("UPDATE warmup SET used = used + ? WHERE id = ?", (len(fresh), number))
        return Granted(have | set(fresh), warmup.day_limit)

    found: Granted = db.in_transaction(work)
    return found


def _of_provider(tx: db.Transaction, pattern_id: int, provider: str) -> int:
    ((source,),) = tx.rows("SELECT source FROM warmup WHERE id = ?", (pattern_id,))
    sql = "SELECT id FROM warmup WHERE mailbox_id = 0 AND source = ? AND provider = ?"
    rows = tx.rows(sql, (source, provider[:255]))
    if not rows:
        ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
        now = clock.now_ms()
        tx.execute(
            f"{ignore} INTO warmup (account_id, domain_id, mailbox_id, source, provider, goal, day, day_limit, used,"
            " reason, created_ms) SELECT 0, 0, 0, source, ?, goal, ?, day_limit, 0, 'the first day', ? FROM warmup"
            " WHERE id = ?",
            (provider[:255], clock.day_number(now), now, pattern_id),
        )
        rows = tx.rows(sql, (source, provider[:255]))
    return int(rows[0][0])


def _roll(tx: db.Transaction, warmup_id: int) -> Warmup | None:
    """The row, held; with the limit of today, which follows from the last day on which it was used."""
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    rows = tx.rows(f"SELECT {_COLUMNS} FROM warmup WHERE id = ?{lock}", (warmup_id,))
    if not rows:
        return None
    warmup = Warmup(*rows[0])
    today = clock.day_number(clock.now_ms())
    # A host whose clock is behind counts in the later day: none is passed by starting an old one anew.
    if warmup.done_ms is not None or warmup.day >= today:
        return warmup
    if not (warmup.source and not warmup.provider):  # a pattern is never used itself
        results = _results(tx.rows, warmup.id, warmup.day, warmup.day)
        limit, reason = warmup_plan.next_limit(
            limit=warmup.day_limit, used=warmup.used, goal=warmup.goal, results=results
        )
        over = warmup.day_limit >= warmup.goal and limit >= warmup.goal
        tx.execute(
            "INSERT INTO warmup_day (warmup_id, day, day_limit, used) VALUES (?, ?, ?, ?)",
            (warmup.id, warmup.day, warmup.day_limit, warmup.used),
        )
        tx.execute(
            "UPDATE warmup SET day = ?, day_limit = ?, used = 0, reason = ?, done_ms = ? WHERE id = ?",
            (today, limit, reason[:255], clock.now_ms() if over else None, warmup.id),
        )
    return Warmup(*tx.rows(f"SELECT {_COLUMNS} FROM warmup WHERE id = ?", (warmup_id,))[0])


def _results(read: Any, warmup_id: int, first: int, last: int) -> Results:
    """What became of the deliveries that had a place in these days: as many index rows as there were places."""
    sent = read(
        "SELECT COUNT(*) FROM warmup_grant WHERE warmup_id = ? AND day BETWEEN ? AND ?", (warmup_id, first, last)
    )[0][0]
    if not sent:
        return Results()
    counts = {
        _COUNTED[EventKind(kind)]: int(n)
        for kind, n in read(
            "SELECT e.kind, COUNT(DISTINCT e.delivery_id) FROM warmup_grant g JOIN delivery d ON d.id = g.delivery_id"
            " JOIN event e ON e.message_id = d.message_id AND e.delivery_id = g.delivery_id"
            " WHERE g.warmup_id = ? AND g.day BETWEEN ? AND ? GROUP BY e.kind",
            (warmup_id, first, last),
        )
        if EventKind(kind) in _COUNTED
    }
    return Results(int(sent), **counts)


def _forget(tx: db.Transaction, numbers: Sequence[int]) -> None:
    for number in numbers:
        for table, column in (("warmup_grant", "warmup_id"), ("warmup_day", "warmup_id"), ("warmup", "id")):
            tx.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))


def collect() -> tuple[int, bool]:
    """Delete a batch of places that are long gone; how many, and whether there may be more."""
    before = clock.day_number(clock.now_ms()) - KEEP_DAYS
    rows = db.rows("SELECT warmup_id, delivery_id FROM warmup_grant WHERE day < ? LIMIT ?", (before, _BATCH))
    if rows:
        db.in_transaction(
            lambda tx: tx.executemany("DELETE FROM warmup_grant WHERE warmup_id = ? AND delivery_id = ?", rows)
        )
    return len(rows), len(rows) == _BATCH
