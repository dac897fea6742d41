"""Automations of an account: made, changed, paused, resumed and deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors, ids, jobs
from gateway.services import audit, automation_actions, automation_signals, automation_triggers, idempotency, tallies
from gateway.services.automation_actions import Step
from gateway.services.automation_triggers import CONDITION, EVENT, TIME, Trigger
from gateway.services.identity import Caller
from models import database as db

ACTIVE, PAUSED = "active", "paused"
STATES = (ACTIVE, PAUSED)
ONCE, ALWAYS, DAYS = "once", "always", "days"
NAME_LENGTH = 255
MOST_LISTED = 200
MOST = 1_000
"""Automations of one account."""
DAYS_MOST = 3_660

_COLUMNS = (
    "id, uuid, account_id, domain_id, live, name, state, version, reentry, reentry_days, due_ms, next_ms, since_ms,"
    " runs, refused, created_ms, updated_ms, `trigger`"
)


@dataclass(frozen=True, slots=True)
class Automation:
    """`next_ms` is when its time comes next, or its condition is looked at; `since_ms` when that was last."""

    id: int
    uuid: UUID
    account_id: int
    domain_id: int | None
    live: bool
    name: str
    state: str
    version: int
    reentry: str
    reentry_days: int
    due_ms: int | None
    next_ms: int | None
    since_ms: int | None
    runs: int
    refused: int
    created_ms: int
    updated_ms: int
    trigger: Trigger

    @property
    def public_id(self) -> str:
        return ids.public_id("aut", self.uuid)

    @property
    def origin(self) -> str:
        """What its messages and their events bear."""
        return tallies.name(tallies.AUTOMATION, self.id)


def add(*, caller: Caller, given: Mapping[str, Any], asked: idempotency.Request | None = None) -> Automation:
    """Make one that is active at once, under a key once.

    `given` has `name`, `trigger`, `actions`, `reentry` and `status`.

    Raises `InvalidFields`, `NotAllowed`, `DomainNotVerified`, `AutomationLimitReached`, `IdempotencyMismatch`,
    `IdempotencyRunning`.
    """
    name = _name(given.get("name"))
    trigger = automation_triggers.read(caller, given.get("trigger"))
    program = automation_actions.read(caller, given.get("actions"))
    reentry, days = _reentry(given.get("reentry"), trigger)
    state = _state(given.get("status", ACTIVE))
    now, uuid = clock.now_ms(), ids.new_uuid()
    next_ms = _first_ms(trigger, now)

    def make(tx: db.Transaction) -> str:
        sql = "SELECT COUNT(*) FROM automation WHERE account_id = ? AND deleted_ms IS NULL"
        if tx.rows(sql, (caller.account_id,))[0][0] >= MOST:
            raise errors.AutomationLimitReached(f"An account has at most {MOST} automations.", limit=MOST)
        made = tx.execute(
            "INSERT INTO automation (uuid, account_id, domain_id, live, name, state, `trigger`, hears, version,"
            " reentry, reentry_days, due_ms, next_ms, since_ms, runs, refused, created_ms, updated_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, 0, 0, ?, ?)",
            (
                uuid.bytes, caller.account_id, caller.domain_id, caller.live, name, state,
                orjson.dumps(trigger).decode(), trigger.get("event", ""), reentry, days,
                next_ms if state == ACTIVE else None, next_ms, automation_triggers.since_ms(trigger, next_ms, now),
                now, now,
            ),
        )  # fmt: skip
        _write_version(tx, int(made.lastrowid), 1, given.get("actions"), program)
        audit.record(
            tx, caller=caller, action="automation.create", what=f"automation:{ids.public_id('aut', uuid)}",
            after={"name": name, "state": state, "trigger": trigger["type"]},
        )  # fmt: skip
        return str(uuid)

    found = db.in_transaction(lambda tx: idempotency.once(tx, asked, lambda: make(tx), now_ms=now))
    _announce(next_ms)
    return find(caller=caller, automation_id=found)


def find(*, caller: Caller, automation_id: str) -> Automation:
    """By its public id or UUID; raises `AutomationNotFound`, for a foreign one too."""
    uuid = ids.uuid_of("aut", automation_id)
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM automation WHERE uuid = ? AND account_id = ? AND deleted_ms IS NULL",
        (uuid.bytes if uuid is not None else b"", caller.account_id),
    )
    if not rows or caller.domain_id not in (None, rows[0][3]):
        raise errors.AutomationNotFound(what="automation")
    return read(rows[0])


def list_(
    *, caller: Caller, state: str = "", trigger: str = "", before: int | None = None, count: int = MOST_LISTED
) -> list[Automation]:
    """Some of the account's automations, the newest first: in one state, with a type of trigger. Raises `Invalid`."""
    if trigger and trigger not in automation_triggers.TYPES:
        words = ", ".join(automation_triggers.TYPES)
        raise errors.Invalid(f"trigger_type should be one of {words}.", field="trigger_type")
    where, values = "account_id = ? AND deleted_ms IS NULL", [caller.account_id]
    if state:
        where, values = f"{where} AND state = ?", [*values, _state(state)]  # type: ignore[list-item]
    if caller.domain_id is not None:
        where, values = f"{where} AND domain_id = ?", [*values, caller.domain_id]
    if before is not None:
        where, values = f"{where} AND id < ?", [*values, before]
    # An account has at most `MOST`, so the type may stay where it is.
    limit = "" if trigger else f" LIMIT {count}"
    found = (
        read(row) for row in db.rows(f"SELECT {_COLUMNS} FROM automation WHERE {where} ORDER BY id DESC{limit}", values)
    )
    return [one for one in found if trigger in ("", one.trigger["type"])][:count]


def actions_of(automation: Automation) -> list[Any]:
    """As they were given."""
    rows = db.rows(
        "SELECT actions FROM automation_version WHERE automation_id = ? AND version = ?",
        (automation.id, automation.version),
    )
    return list(orjson.loads(rows[0][0]))


def program_of(automation_id: int, version: int) -> list[Step]:
    """The steps of a version."""
    rows = db.rows(
        "SELECT program FROM automation_version WHERE automation_id = ? AND version = ?", (automation_id, version)
    )
    return list(orjson.loads(rows[0][0])) if rows else []


def update(*, caller: Caller, automation: Automation, given: Mapping[str, Any]) -> Automation:
    """Change what is given; runs go on with the actions that they began with. Raises what `add` raises."""
    values: dict[str, Any] = {}
    trigger = automation.trigger
    if "name" in given:
        values["name"] = _name(given["name"])
    if "trigger" in given:
        trigger = automation_triggers.read(caller, given["trigger"])
        values |= {"`trigger`": orjson.dumps(trigger).decode(), "hears": trigger.get("event", "")}
        now = clock.now_ms()
        next_ms = _first_ms(trigger, now)
        values |= {"next_ms": next_ms, "since_ms": automation_triggers.since_ms(trigger, next_ms, now)}
    if "reentry" in given:
        values["reentry"], values["reentry_days"] = _reentry(given["reentry"], trigger)
    program = automation_actions.read(caller, given["actions"]) if "actions" in given else None
    if program is not None:
        values["version"] = automation.version + 1
    if "status" in given:
        values["state"] = _state(given["status"])

    def work(tx: db.Transaction) -> None:
        if program is not None:
            _write_version(tx, automation.id, automation.version + 1, given["actions"], program)
        if "trigger" in given:
            tx.execute("DELETE FROM automation_member WHERE automation_id = ?", (automation.id,))
            tx.execute(
                "UPDATE automation_wave SET done_ms = ? WHERE automation_id = ? AND done_ms IS NULL",
                (clock.now_ms(), automation.id),
            )
        _change(tx, caller, automation, "update", **values)

    db.in_transaction(work)
    _announce(clock.now_ms())
    return find(caller=caller, automation_id=str(automation.uuid))


def pause(*, caller: Caller, automation: Automation) -> Automation:
    """Nothing of it happens from the commit on: no run begins and none goes on. A second call is harmless."""
    db.in_transaction(lambda tx: _change(tx, caller, automation, "pause", state=PAUSED))
    automation_signals.forget()
    return find(caller=caller, automation_id=str(automation.uuid))


def resume(*, caller: Caller, automation: Automation) -> Automation:
    """Go on: waits that ended meanwhile end now, times that passed meanwhile are not made up for."""
    values: dict[str, Any] = {"state": ACTIVE}
    now = clock.now_ms()
    if automation.state == PAUSED and automation.next_ms is not None and automation.next_ms < now:
        late = automation.trigger["type"] == TIME and "cron" not in automation.trigger
        values["next_ms"] = automation.next_ms if late else automation_triggers.next_ms(automation.trigger, now)
        values["since_ms"] = automation_triggers.since_ms(automation.trigger, values["next_ms"], now)
    db.in_transaction(lambda tx: _change(tx, caller, automation, "resume", **values))
    _announce(now)
    return find(caller=caller, automation_id=str(automation.uuid))


def delete(*, caller: Caller, automation: Automation) -> None:
    """With its runs, which end where they are; what it sent stays."""

    def work(tx: db.Transaction) -> None:
        _change(tx, caller, automation, "delete", state=PAUSED, deleted_ms=clock.now_ms())
        tallies.forget(tx, automation.origin)

    db.in_transaction(work)
    automation_signals.forget()


def _change(tx: db.Transaction, caller: Caller | None, automation: Automation, action: str, **values: Any) -> None:
    """The one writer of what people change of an automation; a worker looks at an active one at once.

    Raises `AutomationNotFound`, and `NotAllowed` for a test key where it is live.
    """
    if caller is not None:
        caller.must_reach(live=automation.live)
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    found = tx.rows(f"SELECT state FROM automation WHERE id = ? AND deleted_ms IS NULL{lock}", (automation.id,))
    if not found:
        raise errors.AutomationNotFound(what="automation")
    now = clock.now_ms()
    state = values.get("state", found[0][0])
    columns = {"updated_ms": now, "due_ms": now if state == ACTIVE else None, **values}
    sets = ", ".join(f"{name} = ?" for name in columns)
    tx.execute(f"UPDATE automation SET {sets} WHERE id = ?", (*columns.values(), automation.id))
    audit.record(
        tx, caller=caller, action=f"automation.{action}", what=f"automation:{automation.public_id}",
        before={"state": found[0][0], "name": automation.name, "version": automation.version},
        after={
            "state": state,
            "name": values.get("name", automation.name),
            "version": values.get("version", automation.version),
        },
        account_id=automation.account_id,
    )  # fmt: skip


def _write_version(tx: db.Transaction, automation_id: int, version: int, given: Any, program: list[Step]) -> None:
    tx.execute(
        "INSERT INTO automation_version (automation_id, version, actions, program) VALUES (?, ?, ?, ?)",
        (automation_id, version, orjson.dumps(given).decode(), orjson.dumps(program).decode()),
    )


def due(now_ms: int, *, most: int) -> list[Automation]:
    """Active ones that a worker should look at now."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM automation WHERE due_ms <= ? AND state = ? AND deleted_ms IS NULL ORDER BY due_ms"
        " LIMIT ?",
        (now_ms, ACTIVE, most),
    )
    return [read(row) for row in rows]


def hearing(account_id: int) -> list[Automation]:
    """The account's active automations that an event starts."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM automation WHERE account_id = ? AND state = ? AND deleted_ms IS NULL"
        " AND hears <> '' ORDER BY id",
        (account_id, ACTIVE),
    )
    return [read(row) for row in rows]


def by_id(automation_id: int) -> Automation | None:
    """Whatever its state; None once it is deleted."""
    rows = db.rows(f"SELECT {_COLUMNS} FROM automation WHERE id = ? AND deleted_ms IS NULL", (automation_id,))
    return read(rows[0]) if rows else None


def read(row: tuple[Any, ...]) -> Automation:
    """A row of `_COLUMNS`."""
    row_id, uuid, account_id, domain_id, live, *rest = row
    rest[-1] = orjson.loads(rest[-1])
    return Automation(row_id, UUID(bytes=bytes(uuid)), account_id, domain_id, bool(live), *rest)


def _first_ms(trigger: Trigger, now: int) -> int | None:
    if trigger["type"] == CONDITION:
        return now  # who fulfils it now is taken down at once
    if trigger["type"] == TIME and "at_ms" in trigger:
        return int(trigger["at_ms"])
    return automation_triggers.next_ms(trigger, now)


def _announce(next_ms: int | None) -> None:
    automation_signals.forget()
    if next_ms is not None and next_ms <= clock.now_ms():
        jobs.ring(jobs.AUTOMATIONS)


def _invalid(field: str, text: str) -> errors.InvalidFields:
    return errors.InvalidFields(f"{field}: {text}", fields=[{"field": field, "message": text}])


def _name(value: Any) -> str:
    name = value.strip() if isinstance(value, str) else ""
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        raise _invalid("name", f"Should have 1 to {NAME_LENGTH} printable characters.")
    return name


def _state(value: Any) -> str:
    if value not in STATES:
        raise _invalid("status", "Should be one of " + ", ".join(STATES) + ".")
    return str(value)


def _reentry(value: Any, trigger: Trigger) -> tuple[str, int]:
    """`once`, `always` or `{"after_days": n}`; by default always for what recurs, else once."""
    if value is None:
        return (ALWAYS if trigger["type"] != EVENT and "at_ms" not in trigger else ONCE), 0
    if value in (ONCE, ALWAYS):
        return str(value), 0
    days = value.get("after_days") if isinstance(value, Mapping) and len(value) == 1 else None
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= DAYS_MOST:
        raise _invalid("reentry", f'Should be once, always or {{"after_days": 1 to {DAYS_MOST}}}.')
    return DAYS, days
