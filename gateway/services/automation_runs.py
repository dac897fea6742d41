"""Runs of automations: begun where the re-entry allows it, listed with their outcomes, and taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors, ids, jobs
from gateway.mail import address as addresses
from gateway.services import (
    audit,
    automation_signals,
    automation_triggers,
    automations,
    idempotency,
    notices,
    suppressions,
)
from gateway.services.automations import Automation
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import NoticeKind, SubscriberStatus

RUNNING, COMPLETED, FAILED, CANCELED = "running", "completed", "failed", "canceled"
STATES = (RUNNING, COMPLETED, FAILED, CANCELED)
A_DAY_MOST = 20
"""Runs of one automation for one address in a day: what starts itself, however roundabout, ends there."""

DATA_MOST = 16_384
"""Bytes of the data of a trigger as JSON."""
MOST_LISTED = 200
_STEPS_SHOWN = 200
_CHUNK = 200
_COLUMNS = (
    "id, uuid, automation_id, account_id, subscriber_id, list_id, email, address, version, step, state, due_ms, fence,"
    " tries, data, cause, started_ms, updated_ms, ended_ms"
)


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a run is for; without a subscriber it is an address alone."""

    email: str
    subscriber_id: int | None = None
    list_id: int | None = None

    @property
    def address(self) -> str:
        return suppressions.normalise(self.email)


@dataclass(frozen=True, slots=True)
class Run:
    id: int
    uuid: UUID
    automation_id: int
    account_id: int
    subscriber_id: int | None
    list_id: int | None
    email: str
    address: str
    version: int
    step: int
    state: str
    due_ms: int | None
    fence: int
    tries: int
    data: dict[str, Any]
    cause: str
    started_ms: int
    updated_ms: int
    ended_ms: int | None

    @property
    def public_id(self) -> str:
        return ids.public_id("run", self.uuid)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one step; `message` is the UUID of what it sent."""

    path: str
    action: str
    outcome: str
    message: UUID | None
    detail: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Told:
    """A run with its outcomes, for people; `subscriber` is the public id, None for an address alone."""

    run: Run
    subscriber: str | None = None
    outcomes: list[Outcome] = field(default_factory=list)


def start(
    tx: db.Transaction, automation: Automation, people: Sequence[tuple[Person, Mapping[str, Any]]], *, event: str = ""
) -> dict[str, UUID]:
    """Begin a run for each whom the re-entry allows, with the notice that tells it; the new ones by address.

    Holds the automation's row, so that two triggers at once are judged one after the other. Nobody is begun
    of an automation that is paused by now.
    """
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    sql = f"SELECT state, version FROM automation WHERE id = ? AND deleted_ms IS NULL{lock}"
    found = tx.rows(sql, (automation.id,))
    if not found or found[0][0] != automations.ACTIVE:
        return {}
    now, version = clock.now_ms(), int(found[0][1])
    wanted = {person.address: (person, data) for person, data in reversed(people)}
    past = _past(tx, automation, list(wanted), now)
    fresh = [address for address in reversed(wanted) if _may(automation, address, past, now)]
    made = {address: ids.new_uuid() for address in fresh}
    columns = (
        "uuid, account_id, automation_id, subscriber_id, list_id, email, address, version, step, state, due_ms, fence,"
        " tries, data, cause, started_ms, updated_ms"
    )
    for begin in range(0, len(fresh), _CHUNK):
        some = fresh[begin : begin + _CHUNK]
        values: list[Any] = []
        for address in some:
            person, data = wanted[address]
            values += (made[address].bytes, automation.account_id, automation.id, person.subscriber_id, person.list_id)
            values += (
                person.email,
                address,
                version,
                0,
                RUNNING,
                now,
                0,
                0,
                orjson.dumps(dict(data)).decode(),
                "",
                now,
                now,
            )
        marks = ",".join(["(" + ",".join("?" * 17) + ")"] * len(some))
        tx.execute(f"INSERT INTO automation_run ({columns}) VALUES {marks}", values)
    tx.execute(
        "UPDATE automation SET runs = runs + ?, refused = refused + ?,"
        " due_ms = CASE WHEN ? > 0 AND (due_ms IS NULL OR due_ms > ?) THEN ? ELSE due_ms END WHERE id = ?",
        (len(fresh), len(people) - len(fresh), len(fresh), now, now, automation.id),
    )
    for address in fresh:
        told: dict[str, Any] = {
            "automation": automation.public_id,
            "automation_name": automation.name,
            "run": ids.public_id("run", made[address]),
            "trigger": automation.trigger["type"],
            "event": event or automation.trigger.get("event", ""),
            "email": wanted[address][0].email,
        }
        if not automation.live:
            told["test"] = True
        notices.record(
            tx,
            NoticeKind.AUTOMATION_TRIGGERED,
            account_id=automation.account_id,
            domain_id=automation.domain_id,
            data=told,
        )
    if fresh:
        tx.after_commit(lambda: jobs.ring(jobs.AUTOMATIONS), key=jobs.AUTOMATIONS)
    return made


def _past(tx: db.Transaction, automation: Automation, found: list[str], now: int) -> dict[str, tuple[int, int, int]]:
    """By address: how many runs there were, when the last began, how many in the last day."""
    past: dict[str, tuple[int, int, int]] = {}
    for begin in range(0, len(found), 500):
        some = found[begin : begin + 500]
        for address, count, last, today in tx.rows(
            "SELECT address, COUNT(*), MAX(started_ms), SUM(CASE WHEN started_ms > ? THEN 1 ELSE 0 END)"
            f" FROM automation_run WHERE automation_id = ? AND address IN ({','.join('?' * len(some))})"
            " GROUP BY address",
            (now - clock.DAY_MS, automation.id, *some),
        ):
            past[address] = (int(count), int(last), int(today))
    return past


def _may(automation: Automation, address: str, past: Mapping[str, tuple[int, int, int]], now: int) -> bool:
    count, last, today = past.get(address, (0, 0, 0))
    if today >= A_DAY_MOST:
        return False
    if automation.reentry == automations.ONCE:
        return count == 0
    return automation.reentry == automations.ALWAYS or now - last >= automation.reentry_days * clock.DAY_MS


def trigger(
    *,
    caller: Caller,
    automation: Automation,
    subscriber: Any,
    event: str = "",
    data: Mapping[str, Any] | None = None,
    asked: idempotency.Request | None = None,
) -> Run:
    """Begin a run for one subscriber now, whatever the trigger is, under a key once; returns once that is durable.

    `subscriber` is a subscriber's public id or an address, alone or as `id` or `email` of an object. Raises
    `AutomationPaused`, `NotAgain`, `SubscriberNotFound`, `InvalidFields`, `NotAllowed` for a test key where the
    automation is live.
    """
    caller.must_reach(live=automation.live)
    if automation.state != automations.ACTIVE:
        raise errors.AutomationPaused()
    person = person_of(caller, subscriber, list_id=automation.trigger.get("list_id"))
    checked = check_data(data)

    def make(tx: db.Transaction) -> str:
        made = start(tx, automation, [(person, checked)], event=event)
        if person.address not in made:
            raise errors.NotAgain()
        return str(made[person.address])

    try:
        run_id = db.in_transaction(lambda tx: idempotency.once(tx, asked, lambda: make(tx), now_ms=clock.now_ms()))
    except errors.NotAgain:
        if automations.find(caller=caller, automation_id=automation.public_id).state != automations.ACTIVE:
            raise errors.AutomationPaused() from None
        _refuse(automation)
        raise
    return find(caller=caller, automation=automation, run_id=run_id).run


def _refuse(automation: Automation) -> None:
    db.in_transaction(
        lambda tx: tx.execute("UPDATE automation SET refused = refused + 1 WHERE id = ?", (automation.id,))
    )


def announce(
    *,
    caller: Caller,
    event: str,
    subscriber: Any,
    data: Mapping[str, Any] | None = None,
    asked: idempotency.Request | None = None,
) -> int:
    """An event of the account's own has happened to somebody; how many active automations hear of it.

    They begin behind the answer, under a key once; those that are live hear nothing of test keys. Raises
    `InvalidFields`, `SubscriberNotFound`.
    """
    word = automation_triggers.word_of(event)
    if not word or word in automation_triggers.WORDS:
        raise _invalid("event", "Should be a name of your own, 1 to 64 characters without spaces.")
    person = person_of(caller, subscriber)
    checked = check_data(data)
    hearing = [one for one in automations.hearing(caller.account_id) if caller.live or not one.live]
    count = sum(1 for one in hearing if one.trigger.get("event") == word)
    if count or asked is not None:
        said = {"data": checked} | automation_signals.origin_of(live=caller.live)
        row = (caller.account_id, word, person.email, person.list_id, person.subscriber_id, said)

        def make(tx: db.Transaction) -> str:
            automation_signals.put(tx, [row] if count else [])
            return str(count)

        return int(db.in_transaction(lambda tx: idempotency.once(tx, asked, lambda: make(tx), now_ms=clock.now_ms())))
    return count


def check_data(data: Any) -> dict[str, Any]:
    """Raises `InvalidFields`."""
    if data is None:
        return {}
    if not isinstance(data, Mapping) or len(orjson.dumps(data)) > DATA_MOST:
        raise _invalid("data", f"Should be an object of at most {DATA_MOST} bytes.")
    return dict(data)


def person_of(caller: Caller, given: Any, *, list_id: int | None = None) -> Person:
    """The subscriber of a request, of the list where one is named; raises `SubscriberNotFound`, `InvalidFields`."""
    if isinstance(given, Mapping):
        given = given.get("id") if given.get("id") is not None else given.get("email")
    if not isinstance(given, str) or not given.strip():
        raise _invalid("subscriber", "Should be a subscriber's id or an address.")
    text = given.strip()
    if "@" not in text:
        number = ids.number_of("sub", text)
        rows = db.rows(
            "SELECT id, list_id, email FROM subscriber WHERE id = ? AND account_id = ? AND status <> ?",
            (number or 0, caller.account_id, int(SubscriberStatus.REMOVED)),
        )
        if not rows:
            raise errors.SubscriberNotFound(what="subscriber")
        return Person(rows[0][2], rows[0][0], rows[0][1])
    try:
        email = addresses.check(text)
    except errors.Invalid as error:
        raise _invalid("subscriber", error.message) from None
    return by_address(caller.account_id, email, list_id)


def by_address(account_id: int, email: str, list_id: int | None = None) -> Person:
    """Their row on the list, or on the account's list that they joined first; an address alone where there is none."""
    where, values = ("l.id = ?", [list_id]) if list_id is not None else ("l.account_id = ?", [account_id])
    # From the few lists to the one index entry in each.
    join = "STRAIGHT_JOIN" if db.dialect() == "mysql" else "CROSS JOIN"
    rows = db.rows(
        f"SELECT s.id, s.list_id, s.email FROM mail_list l {join} subscriber s ON s.list_id = l.id AND s.address = ?"
        f" WHERE {where} AND l.deleted_ms IS NULL AND s.account_id = ? ORDER BY s.id LIMIT 1",
        (suppressions.normalise(email), *values, account_id),
    )
    return Person(rows[0][2], rows[0][0], rows[0][1]) if rows else Person(email, None, list_id)


def list_(
    *,
    caller: Caller,
    automation: Automation,
    state: str = "",
    subscriber: str = "",
    before: int | None = None,
    count: int = MOST_LISTED,
) -> list[Told]:
    """Some runs of the automation, the newest first; in one state, of one subscriber. Raises `Invalid`."""
    where, values = "automation_id = ?", [automation.id]
    if state:
        if state not in STATES:
            raise errors.Invalid("status should be one of " + ", ".join(STATES) + ".", field="status")
        where, values = f"{where} AND state = ?", [*values, state]  # type: ignore[list-item]
    if subscriber:
        person = person_of(caller, subscriber)
        where, values = f"{where} AND address = ?", [*values, person.address]  # type: ignore[list-item]
    if before is not None:
        where, values = f"{where} AND id < ?", [*values, before]
    rows = db.rows(f"SELECT {_COLUMNS} FROM automation_run WHERE {where} ORDER BY id DESC LIMIT ?", (*values, count))
    return told([read(row) for row in rows])


def told(runs: Sequence[Run]) -> list[Told]:
    """The runs, each with what became of it so far."""
    outcomes = _outcomes([run.id for run in runs])
    people = _subscribers({run.subscriber_id for run in runs if run.subscriber_id is not None})
    return [Told(run, people.get(run.subscriber_id or 0), outcomes.get(run.id, [])) for run in runs]


def _subscribers(numbers: set[int]) -> dict[int, str]:
    """Public ids by number, without those who were taken off their list."""
    if not numbers:
        return {}
    rows = db.rows(
        f"SELECT id, created_ms FROM subscriber WHERE id IN ({','.join('?' * len(numbers))}) AND status <> ?",
        (*sorted(numbers), int(SubscriberStatus.REMOVED)),
    )
    return {row_id: ids.numbered("sub", created_ms, row_id) for row_id, created_ms in rows}


def find(*, caller: Caller, automation: Automation, run_id: str) -> Told:
    """Raises `RunNotFound`."""
    uuid = ids.uuid_of("run", run_id)
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM automation_run WHERE uuid = ? AND automation_id = ? AND account_id = ?",
        (uuid.bytes if uuid is not None else b"", automation.id, caller.account_id),
    )
    if not rows:
        raise errors.RunNotFound(what="run")
    return told([read(rows[0])])[0]


def _outcomes(run_ids: Sequence[int]) -> dict[int, list[Outcome]]:
    found: dict[int, list[Outcome]] = {}
    if not run_ids:
        return found
    marks = ",".join("?" * len(run_ids))
    for run_id, path, action, outcome, uuid, detail, at_ms in db.rows(
        "SELECT s.run_id, s.path, s.action, s.outcome, m.uuid, s.detail, s.at_ms FROM automation_step s"
        f" LEFT JOIN message m ON m.id = s.message_id WHERE s.run_id IN ({marks}) ORDER BY s.id",
        run_ids,
    ):
        some = found.setdefault(run_id, [])
        if len(some) < _STEPS_SHOWN:
            some.append(Outcome(path, action, outcome, UUID(bytes=bytes(uuid)) if uuid else None, detail, at_ms))
    return found


def cancel(*, caller: Caller, automation: Automation, run_id: str) -> Told:
    """End a run where it is; raises `RunNotFound`, `RunEnded`, `NotAllowed` for a test key where it is live."""
    caller.must_reach(live=automation.live)
    run = find(caller=caller, automation=automation, run_id=run_id).run
    now = clock.now_ms()

    def work(tx: db.Transaction) -> bool:
        done = tx.execute(
            "UPDATE automation_run SET state = ?, due_ms = NULL, ended_ms = ?, updated_ms = ?, fence = fence + 1"
            " WHERE id = ? AND state = ?",
            (CANCELED, now, now, run.id, RUNNING),
        ).rowcount
        if done:
            audit.record(
                tx, caller=caller, action="automation_run.cancel", what=f"automation_run:{run.public_id}",
                before={"state": RUNNING}, after={"state": CANCELED},
            )  # fmt: skip
        return bool(done)

    if not db.in_transaction(work):
        raise errors.RunEnded(state=run.state)
    return find(caller=caller, automation=automation, run_id=run_id)


def read(row: Sequence[Any]) -> Run:
    """A row of `_COLUMNS`."""
    values = list(row)
    values[1] = UUID(bytes=bytes(values[1]))
    values[14] = orjson.loads(values[14] or "{}")
    return Run(*values)


def claim(automation_id: int, *, lease_ms: int, most: int) -> list[Run]:
    """Take up to `most` runs that are due and hold them until `lease_ms`; a lease that runs out is due again."""
    now = clock.now_ms()

    def work(tx: db.Transaction) -> list[Run]:
        lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "mysql" else ""
        index = "FORCE INDEX (automationrun_automation_id_due_ms)" if tx.dialect == "mysql" else ""
        columns = _COLUMNS.replace("fence", "fence + 1")
        rows = tx.rows(
            f"SELECT {columns} FROM automation_run {index} WHERE automation_id = ? AND due_ms <= ? ORDER BY due_ms"
            f" LIMIT ?{lock}",
            (automation_id, now, most),
        )
        if rows:
            marks = ",".join("?" * len(rows))
            tx.execute(
                f"UPDATE automation_run SET due_ms = ?, fence = fence + 1 WHERE id IN ({marks})",
                (lease_ms, *(row[0] for row in rows)),
            )
        return [read(row) for row in rows]

    return db.in_transaction(work)


def _invalid(field_: str, text: str) -> errors.InvalidFields:
    return errors.InvalidFields(f"{field_}: {text}", fields=[{"field": field_, "message": text}])
