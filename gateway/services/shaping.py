"""Limits on destinations: rows that say what holds for whom, why and until when, obeyed by every process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway import clock, errors, jobs
from gateway.mail import reply_rules
from gateway.services import audit
from gateway.services.identity import Caller
from gateway.services.waiting import BY_LANE
from models import database as db
from models.vocabulary import DeliveryState, LaneKind

MX, DOMAIN, SERVER = "mx", "domain", "server"
SCOPES = (MX, DOMAIN, SERVER)
KINDS = (reply_rules.PAUSE, reply_rules.RATE, reply_rules.CONNECTIONS)
AUTO, OPERATOR = "auto", "operator"

STEP_MS = 300_000
"""The longest that a delivery waits before it is looked at again, however long its limit holds."""

LIST_MOST = 500
_MOST_MINUTES = 366 * 1440
_KEPT_MS = 30 * clock.DAY_MS
_BATCH = 500
_CAUSE_LENGTH = 1000
_COLUMNS = "id, scope, target, kind, value, cause, rule, origin, created_ms, changed_ms, until_ms, pinned, canceled_ms"
_ACTIVE = "canceled_ms IS NULL AND (until_ms IS NULL OR until_ms > ? OR pinned = 1)"


@dataclass(frozen=True, slots=True)
class Limit:
    """`value` is messages a minute for `rate`, connections for `connections`.

    It is for all processes that deliver, on every host: each obeys its share, also while others have nothing to send.

    `until_ms` None: until it is canceled, as where `pinned`.
    """

    id: int
    scope: str
    target: str
    kind: str
    value: int
    cause: str
    rule: str
    origin: str
    created_ms: int
    changed_ms: int
    until_ms: int | None
    pinned: bool
    canceled_ms: int | None

    @property
    def ends_ms(self) -> int | None:
        return None if self.pinned else self.until_ms

    def is_active(self, now_ms: int) -> bool:
        ends_ms = self.ends_ms
        return self.canceled_ms is None and (ends_ms is None or ends_ms > now_ms)


@dataclass(frozen=True, slots=True)
class Lesson:
    """A limit that a reply or a surge of refusals asks for; `at_ms` is when the attempt began that taught it.

    `value` 0 for connections means half of what `now` is, the connections that all processes together may have.
    """

    target: str
    rule: str
    kind: str
    value: int
    until_ms: int
    cause: str
    at_ms: int
    now: int = 0
    scope: str = MX


def active() -> tuple[Limit, ...]:
    """Every limit that holds now; one small query."""
    found = db.rows(f"SELECT {_COLUMNS} FROM shaping_limit WHERE {_ACTIVE} ORDER BY id", (clock.now_ms(),))
    return tuple(_read(row) for row in found)


def server_pauses() -> list[Limit]:
    """The sending servers that nothing goes over now."""
    return [limit for limit in active() if limit.scope == SERVER and limit.kind == reply_rules.PAUSE]


def learn(lesson: Lesson) -> Limit | None:
    """Make a limit on a group of exchangers or a sending server, or extend the one that the same rule made.

    None where somebody canceled it after the attempt had begun: what was on its way then teaches nothing new.
    """

    def work(tx: db.Transaction) -> Limit | None:
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        found = [
            _read(row)
            for row in tx.rows(
                f"SELECT {_COLUMNS} FROM shaping_limit WHERE scope = ? AND target = ? AND rule = ? AND origin = ?"
                f" AND (canceled_ms > ? OR {_ACTIVE}) ORDER BY id DESC{lock}",
                (lesson.scope, lesson.target, lesson.rule, AUTO, lesson.at_ms, clock.now_ms()),
            )
        ]
        if any(one.canceled_ms is not None for one in found):
            return None
        now = clock.now_ms()
        if not found:
            value = lesson.value or (max(1, lesson.now // 2) if lesson.kind == reply_rules.CONNECTIONS else 0)
            cause = lesson.cause[:_CAUSE_LENGTH]
            values = (
                lesson.scope, lesson.target, lesson.kind, value, cause, lesson.rule, AUTO, now, now, lesson.until_ms
            )  # fmt: skip
            return _insert(tx, values)
        last = found[0]
        value, changed_ms = last.value, last.changed_ms
        if lesson.kind == reply_rules.CONNECTIONS and not lesson.value and lesson.at_ms > last.changed_ms:
            value, changed_ms = max(1, last.value // 2), now
        tx.execute(
            "UPDATE shaping_limit SET until_ms = ?, value = ?, changed_ms = ? WHERE id = ?",
            (max(last.until_ms or 0, lesson.until_ms), value, changed_ms, last.id),
        )
        return _find(tx, last.id)

    made: Limit | None = db.in_transaction(work)
    return made


def list_(*, caller: Caller | None, ended: bool = False, count: int = LIST_MOST) -> list[Limit]:
    """What holds now, or with `ended` all that is still known, the latest first; for operators."""
    _only_operators(caller)
    where, values = ("1 = 1", ()) if ended else (_ACTIVE, (clock.now_ms(),))
    found = db.rows(
        f"SELECT {_COLUMNS} FROM shaping_limit WHERE {where} ORDER BY id DESC LIMIT ?",
        (*values, max(1, min(count, LIST_MOST))),
    )
    return [_read(row) for row in found]


def add(
    *,
    caller: Caller | None,
    scope: str,
    target: str,
    kind: str,
    value: int = 0,
    minutes: int | None = None,
    cause: str = "",
) -> Limit:
    """An operator's own limit; without `minutes` it holds until it is canceled. Raises `Invalid`."""
    _only_operators(caller)
    name = target.strip().rstrip(".").lower()
    if scope not in SCOPES:
        raise errors.Invalid(f"Scope should be one of {', '.join(SCOPES)}.", field="Scope")
    if not name or len(name) > 255 or any(letter.isspace() or letter == "@" for letter in name):
        wanted = "a group of mail exchangers, a recipient domain or srv: and the number of a sending server"
        raise errors.Invalid(f"Target should be {wanted}.", field="Target")
    if kind not in KINDS:
        raise errors.Invalid(f"Kind should be one of {', '.join(KINDS)}.", field="Kind")
    if kind != reply_rules.PAUSE and not 0 < value <= 1_000_000:
        raise errors.Invalid("Value should be a number from 1 to 1000000.", field="Value")
    if kind == reply_rules.PAUSE and value:
        raise errors.Invalid("A pause takes no Value; Minutes says how long it holds.", field="Value")
    if minutes is not None and not 0 < minutes <= _MOST_MINUTES:
        raise errors.Invalid(f"Minutes should be from 1 to {_MOST_MINUTES}.", field="Minutes")
    now = clock.now_ms()
    until_ms = None if minutes is None else now + minutes * 60_000
    said = (cause.strip() or f"set by {caller.email if caller is not None else 'an operator'}")[:_CAUSE_LENGTH]
    values = (scope, name, kind, value, said, "", OPERATOR, now, now, until_ms)

    def work(tx: db.Transaction) -> Limit:
        made = _insert(tx, values)
        after = {"scope": scope, "target": name, "kind": kind, "value": value, "until_ms": until_ms, "cause": said}
        _record(tx, caller, "limit.create", made.id, after=after)
        return made

    made: Limit = db.in_transaction(work)
    return made


def pin(*, caller: Caller | None, limit_id: int, pinned: bool = True) -> Limit:
    """Keep a limit beyond its end until it is canceled, or let it end again. Raises `LimitNotFound`, `LimitEnded`."""
    _only_operators(caller)

    def work(tx: db.Transaction) -> Limit:
        _must_hold(_find(tx, limit_id))
        tx.execute(
            "UPDATE shaping_limit SET pinned = ?, changed_ms = ? WHERE id = ?", (int(pinned), clock.now_ms(), limit_id)
        )
        _record(tx, caller, "limit.pin", limit_id, after={"pinned": pinned})
        return _must_exist(_find(tx, limit_id))

    changed: Limit = db.in_transaction(work)
    return changed


def cancel(*, caller: Caller | None, limit_id: int) -> int:
    """End a limit now and make what it held due; how many deliveries those are.

    Workers obey within some two seconds. Raises `LimitNotFound`, `LimitEnded`.
    """
    _only_operators(caller)

    def end(tx: db.Transaction) -> None:
        found = _find(tx, limit_id)
        _must_hold(found)
        before = {} if found is None else {"scope": found.scope, "target": found.target, "kind": found.kind}
        _record(tx, caller, "limit.cancel", limit_id, before=before)
        now = clock.now_ms()
        tx.execute("UPDATE shaping_limit SET canceled_ms = ?, changed_ms = ? WHERE id = ?", (now, now, limit_id))

    db.in_transaction(end)
    return _let_go(limit_id)


def _record(
    tx: db.Transaction,
    caller: Caller | None,
    action: str,
    limit_id: int,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """A limit is the installation's, whoever sets it."""
    audit.record(tx, caller=caller, account_id=0, action=action, what=f"limit:{limit_id}", before=before, after=after)


def _let_go(limit_id: int) -> int:
    """Make due what waits because of the limit, in short transactions."""
    total = 0
    soon = STEP_MS * 2
    mark = f'%"limit":{limit_id},%'
    free = (int(DeliveryState.QUEUED), int(DeliveryState.DEFERRED))
    for (lane_id,) in db.rows("SELECT id FROM lane WHERE kind = ? ORDER BY id", (int(LaneKind.DELIVER),)):
        more = True
        while more:

            def work(tx: db.Transaction, lane_id: int = lane_id) -> int:
                now = clock.now_ms()
                lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
                ids = [
                    row[0]
                    for row in tx.rows(
                        f"SELECT id FROM delivery {BY_LANE[tx.dialect]} WHERE lane_id = ? AND due_ms > ?"
                        f" AND due_ms <= ? AND state IN (?, ?) AND waiting LIKE ? ORDER BY due_ms LIMIT {_BATCH}{lock}",
                        (lane_id, now, now + soon, *free, mark),
                    )
                ]
                if ids:
                    marks = ",".join("?" * len(ids))
                    tx.execute(f"UPDATE delivery SET due_ms = ?, waiting = NULL WHERE id IN ({marks})", (now, *ids))
                    tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
                return len(ids)

            count: int = db.in_transaction(work)
            total += count
            more = count == _BATCH
    return total


def figures() -> dict[str, int]:
    """How many limits hold now, and how many destinations are paused."""
    found = active()
    paused = {(one.scope, one.target) for one in found if one.kind == reply_rules.PAUSE}
    return {"limits": len(found), "paused": len(paused)}


def collect() -> tuple[int, bool]:
    """Delete a batch of limits that ended a month ago: how many, and whether there may be more."""
    before = clock.now_ms() - _KEPT_MS
    keys = db.rows(
        "SELECT id FROM shaping_limit WHERE canceled_ms < ? OR (canceled_ms IS NULL AND pinned = 0 AND until_ms < ?)"
        f" LIMIT {_BATCH}",
        (before, before),
    )
    if keys:
        db.in_transaction(lambda tx: tx.executemany("DELETE FROM shaping_limit WHERE id = ?", keys))
    return len(keys), len(keys) == _BATCH


def _insert(tx: db.Transaction, values: Sequence[object]) -> Limit:
    cursor = tx.execute(
        "INSERT INTO shaping_limit (scope, target, kind, value, cause, rule, origin, created_ms, changed_ms, until_ms,"
        " pinned) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        values,
    )
    return _must_exist(_find(tx, int(cursor.lastrowid)))


def _find(tx: db.Transaction, limit_id: int) -> Limit | None:
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    found = tx.rows(f"SELECT {_COLUMNS} FROM shaping_limit WHERE id = ?{lock}", (limit_id,))
    return _read(found[0]) if found else None


def _must_exist(found: Limit | None) -> Limit:
    if found is None:
        raise errors.LimitNotFound
    return found


def _must_hold(found: Limit | None) -> None:
    if not _must_exist(found).is_active(clock.now_ms()):
        raise errors.LimitEnded


def _read(row: Sequence[object]) -> Limit:
    return Limit(*row[:11], bool(row[11]), row[12])  # type: ignore[arg-type, call-arg]


def _only_operators(caller: Caller | None) -> None:
    """None is whoever has a shell on the host."""
    if caller is not None and not caller.is_operator:
        raise errors.NotAllowed
