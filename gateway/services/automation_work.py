"""What a worker does for automations: signals become runs, times come for whole lists, runs that are due go on.

Everything is a row that says when, so an outage of any length makes it later and nothing twice; a look at nothing
that is due costs three short reads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from gateway import clock
from gateway.services import (
    audiences,
    automation_runs,
    automation_steps,
    automation_triggers,
    automations,
    schedules,
    segments,
)
from gateway.services.automation_runs import Person, Run
from gateway.services.automations import Automation
from models import database as db
from models.vocabulary import SubscriberStatus

LEASE_MS = 30_000
"""Longer than a drain with its slowest call to an endpoint; what was not begun by then has been given back."""
BATCH = 200
"""Signals, or subscribers of a wave, of one transaction."""
_RUNS = 100
_THREADS = 8
_MOST = 50
_GAP_S = 0.005
_KEEP_MS = 400 * clock.DAY_MS
"""How long outcomes are kept: longer than the longest wait, after which a run may ask for them."""
_COLLECTED = 500
_BROKEN_MS = 60_000
_WAVES_MS = 3 * clock.DAY_MS
_log = logging.getLogger("commandpost.automations")

_WAVE = "id, automation_id, list_id, since_ms, at_ms, first, reached, upto"


def drain(seconds: float) -> int:
    """Do what is due for up to `seconds`; how many signals, subscribers and runs were dealt with.

    Safe to run anywhere, at any time, twice at once.
    """
    end = time.monotonic() + seconds
    total = 0
    while time.monotonic() < end:
        count = _signals(end) + _waves(end) + _due(end)
        total += count
        if not count:
            break
    return total


# --- signals --------------------------------------------------------------------------------------


def _signals(end: float) -> int:
    total = 0
    while time.monotonic() < end:
        found = db.rows("SELECT account_id FROM automation_signal ORDER BY id LIMIT ?", (BATCH,))
        if not found:
            return total
        hearing = {account_id: automations.hearing(account_id) for account_id in sorted({row[0] for row in found})}
        count = _heard(hearing)
        total += count
        if not count:
            return total  # another has them
        time.sleep(_GAP_S)
    return total


def _heard(hearing: Mapping[int, Sequence[Automation]]) -> int:
    try:
        return db.in_transaction(lambda tx: _hear(tx, hearing, BATCH))
    except db.StoreUnavailable:
        raise
    except Exception:
        _log.exception("signals_not_heard")
    try:
        return db.in_transaction(lambda tx: _hear(tx, hearing, 1))
    except db.StoreUnavailable:
        raise
    except Exception:  # the first of them is what is wrong: the others must not wait for ever
        _log.exception("signal_dropped")
        return db.in_transaction(lambda tx: _hear(tx, dict.fromkeys(hearing, ()), 1))


def _hear(tx: db.Transaction, hearing: Mapping[int, Sequence[Automation]], most: int) -> int:
    """A signal goes in the commit that decides about it."""
    lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "mysql" else ""
    rows = [
        row
        for row in tx.rows(
            "SELECT id, account_id, word, email, list_id, subscriber_id, data FROM automation_signal ORDER BY id"
            f" LIMIT ?{lock}",
            (most,),
        )
        if row[1] in hearing
    ]
    parsed = [orjson.loads(row[6]) for row in rows]
    tests = _tests(tx, {said["message_id"] for said in parsed if "message_id" in said})
    begun: dict[int, tuple[Automation, list[tuple[Person, Mapping[str, Any]]]]] = {}
    for (_, account_id, word, email, list_id, subscriber_id, _), said in zip(rows, parsed, strict=True):
        said["list_id"] = list_id
        test = said.get("test") or said.get("message_id") in tests
        for automation in hearing[account_id]:
            if test and automation.live:
                continue
            # What it sent itself starts it no more.
            if automation.trigger.get("event") != word or said.get("origin") == automation.origin:
                continue
            if automation_triggers.fits(automation.trigger, said):
                person = Person(email, subscriber_id, list_id)
                if subscriber_id is None:
                    person = automation_runs.by_address(account_id, email, automation.trigger.get("list_id"))
                _, people = begun.setdefault(automation.id, (automation, []))
                people.append((person, _data(word, said)))
    for automation_id in sorted(begun):
        automation, people = begun[automation_id]
        automation_runs.start(tx, automation, people)
    if rows:
        tx.execute(f"DELETE FROM automation_signal WHERE id IN ({','.join('?' * len(rows))})", [row[0] for row in rows])
    return len(rows)


def _tests(tx: db.Transaction, message_ids: set[int]) -> set[int]:
    """Those of the messages that were sent with a test key."""
    if not message_ids:
        return set()
    marks = ",".join("?" * len(message_ids))
    rows = tx.rows(f"SELECT id FROM message WHERE live = 0 AND id IN ({marks})", sorted(message_ids))
    return {row_id for (row_id,) in rows}


def _data(word: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """What the run may use in its texts and conditions."""
    found = dict(said.get("data", {}))
    found["event"] = word
    if said.get("url"):
        found["url"] = said["url"]
    return found


# --- waves ----------------------------------------------------------------------------------------


def _waves(end: float) -> int:
    total = 0
    columns = ", ".join(f"w.{name}" for name in _WAVE.split(", "))
    waiting = db.rows(
        f"SELECT {columns} FROM automation_wave w JOIN automation a ON a.id = w.automation_id"
        " WHERE w.done_ms IS NULL AND (a.state = ? OR a.deleted_ms IS NOT NULL) ORDER BY w.id LIMIT ?",
        (automations.ACTIVE, _MOST),
    )
    for row in waiting:
        wave_id, automation_id = row[0], row[1]
        automation = automations.by_id(automation_id)
        if automation is None:
            db.in_transaction(lambda tx, wave_id=wave_id: _end_wave(tx, wave_id))  # type: ignore[misc]
            continue
        audience = audiences.find(account_id=automation.account_id, target_id=row[2])
        more = True
        while more and time.monotonic() < end:

            def work(
                tx: db.Transaction,
                wave_id: int = wave_id,
                automation: Automation = automation,
                audience: audiences.Audience | None = audience,
            ) -> tuple[int, bool]:
                return _advance_wave(tx, wave_id, automation, audience)

            try:
                count, more = db.in_transaction(work)
            except db.StoreUnavailable:
                raise
            except Exception:
                _log.exception("wave_not_advanced", extra={"automation": automation.id})
                break
            total += count
            time.sleep(_GAP_S)
    return total


def _end_wave(tx: db.Transaction, wave_id: int) -> None:
    tx.execute("UPDATE automation_wave SET done_ms = ? WHERE id = ?", (clock.now_ms(), wave_id))


def _advance_wave(
    tx: db.Transaction, wave_id: int, automation: Automation, audience: audiences.Audience | None
) -> tuple[int, bool]:
    """The next subscribers of a wave, with its mark in one commit: how many, and whether there may be more."""
    lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "mysql" else ""
    found = tx.rows(f"SELECT {_WAVE} FROM automation_wave WHERE id = ? AND done_ms IS NULL{lock}", (wave_id,))
    if not found:
        return 0, False
    _, _, _, since_ms, at_ms, first, reached, upto = found[0]
    if audience is None:  # the list is gone
        _end_wave(tx, wave_id)
        return 0, False
    people = tx.rows(
        "SELECT id, email, address, fields, created_ms FROM subscriber WHERE list_id = ? AND status = ? AND id > ?"
        " AND id <= ? ORDER BY id LIMIT ?",
        (audience.list_id, int(SubscriberStatus.ACTIVE), reached, upto, BATCH),
    )
    chosen = _chosen(tx, automation, audience, people, since_ms, at_ms)
    if automation.trigger["type"] == automation_triggers.CONDITION:
        last = people[-1][0] if len(people) == BATCH else upto
        chosen = _news(tx, automation.id, chosen, (reached, last))
        if first and not automation.trigger.get("include_existing"):
            chosen = set()
    starters = [
        (Person(row[1], row[0], audience.list_id), {"event": automation.trigger["type"]})
        for row in people
        if row[0] in chosen
    ]
    if starters:
        automation_runs.start(tx, automation, starters)
    over = len(people) < BATCH
    tx.execute(
        "UPDATE automation_wave SET reached = ?, done_ms = ? WHERE id = ?",
        (people[-1][0] if people else upto, clock.now_ms() if over else None, wave_id),
    )
    return len(people), not over


def _chosen(
    tx: db.Transaction,
    automation: Automation,
    audience: audiences.Audience,
    people: Sequence[tuple[Any, ...]],
    since_ms: int,
    at_ms: int,
) -> set[int]:
    """Whom the time or the condition is about."""
    trigger = automation.trigger
    kept = segments.select(
        tx, account_id=automation.account_id, matcher=audience.matcher, rows=people, now_ms=clock.now_ms()
    )
    if trigger.get("conditions") is not None:
        matcher = segments.compile_(automation.account_id, trigger["conditions"])
        kept &= segments.select(
            tx, account_id=automation.account_id, matcher=matcher, rows=people, now_ms=clock.now_ms()
        )
    if trigger["type"] == automation_triggers.TIME and "field" in trigger:
        after, until = clock.day_number(since_ms), clock.day_number(at_ms)
        kept &= {
            row[0]
            for row in people
            if schedules.falls_between(
                orjson.loads(row[3] or "{}").get(trigger["field"]),
                offset_days=trigger["offset_days"], yearly=trigger["yearly"], after_day=after, until_day=until,
            )
        }  # fmt: skip
    return kept


def _news(tx: db.Transaction, automation_id: int, matching: set[int], scope: tuple[int, int]) -> set[int]:
    """Of those who fulfil the condition now, the ones who did not when it was last looked at."""
    before = {
        number
        for (number,) in tx.rows(
            "SELECT subscriber_id FROM automation_member WHERE automation_id = ? AND subscriber_id > ?"
            " AND subscriber_id <= ?",
            (automation_id, *scope),
        )
    }
    gone, news = before - matching, matching - before
    if gone:
        tx.executemany(
            "DELETE FROM automation_member WHERE automation_id = ? AND subscriber_id = ?",
            [(automation_id, number) for number in sorted(gone)],
        )
    if news:
        tx.executemany(
            "INSERT INTO automation_member (automation_id, subscriber_id) VALUES (?, ?)",
            [(automation_id, number) for number in sorted(news)],
        )
    return news


# --- what is due ------------------------------------------------------------------------------------


def _due(end: float) -> int:
    total = 0
    for automation in automations.due(clock.now_ms(), most=_MOST):
        if time.monotonic() >= end:
            break
        try:
            if automation.next_ms is not None and automation.next_ms <= clock.now_ms():
                total += db.in_transaction(lambda tx, one=automation: _begin_wave(tx, one))  # type: ignore[misc]
            total += _go_on(automation, end)
            db.in_transaction(lambda tx, one=automation: _settle(tx, one))  # type: ignore[misc]
        except db.StoreUnavailable:
            raise
        except Exception:  # one that is broken must not keep the others
            _log.exception("automation_not_looked_after", extra={"automation": automation.id})
            _put_off(automation)
    return total


def _put_off(automation: Automation) -> None:
    due_ms = clock.now_ms() + _BROKEN_MS
    db.in_transaction(lambda tx: tx.execute("UPDATE automation SET due_ms = ? WHERE id = ?", (due_ms, automation.id)))


def _begin_wave(tx: db.Transaction, automation: Automation) -> int:
    """Its time has come: the wave and the next time in one commit. Of several times that passed one wave is left."""
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    sql = f"SELECT next_ms, since_ms, state FROM automation WHERE id = ? AND deleted_ms IS NULL{lock}"
    found = tx.rows(sql, (automation.id,))
    now = clock.now_ms()
    if not found or found[0][2] != automations.ACTIVE or found[0][0] is None or found[0][0] > now:
        return 0
    since_ms, at_ms = found[0][1], automation_triggers.last_ms(automation.trigger, found[0][0], now)
    audience = audiences.find(account_id=automation.account_id, target_id=automation.trigger["list_id"])
    upto = 0
    if audience is not None:
        sql = "SELECT MAX(id) FROM subscriber WHERE list_id = ? AND status = ?"
        upto = int(tx.rows(sql, (audience.list_id, int(SubscriberStatus.ACTIVE)))[0][0] or 0)
    first = automation.trigger["type"] == automation_triggers.CONDITION and not tx.rows(
        "SELECT 1 FROM automation_wave WHERE automation_id = ? AND at_ms >= ? LIMIT 1", (automation.id, since_ms)
    )
    tx.execute("DELETE FROM automation_wave WHERE automation_id = ? AND done_ms < ?", (automation.id, now - _WAVES_MS))
    running = tx.rows("SELECT 1 FROM automation_wave WHERE automation_id = ? AND done_ms IS NULL", (automation.id,))
    if not running:
        ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
        tx.execute(
            f"{ignore} INTO automation_wave (automation_id, list_id, since_ms, at_ms, first, reached, upto)"
            " VALUES (?, ?, ?, ?, ?, 0, ?)",
            (automation.id, automation.trigger["list_id"], since_ms or 0, at_ms, first, upto),
        )
    tx.execute(
        "UPDATE automation SET next_ms = ?, since_ms = ? WHERE id = ?",
        (
            automation_triggers.next_ms(automation.trigger, now),
            since_ms if running or automation.trigger["type"] == automation_triggers.CONDITION else at_ms,
            automation.id,
        ),
    )
    return 1


def _go_on(automation: Automation, end: float) -> int:
    """Have its runs that are due go on, several at once: they wait for the disk and for others' endpoints."""
    total = 0
    while time.monotonic() < end:
        runs = automation_runs.claim(automation.id, lease_ms=clock.now_ms() + LEASE_MS, most=_RUNS)
        team = _Team(automation, runs, end)
        team.work()
        total += len(runs) - len(team.left)
        _give_back(team.left)
        if team.lost is not None:
            raise team.lost
        if team.left or len(runs) < _RUNS:
            break
    return total


class _Team:
    """A few threads that share claimed runs; `left` are those that nobody began."""

    def __init__(self, automation: Automation, runs: Sequence[Run], end: float) -> None:
        self.left = deque(runs)
        self.lost: db.StoreUnavailable | None = None
        self._automation, self._end = automation, end
        self._stopped = False
        self._programs = {
            version: automations.program_of(automation.id, version) for version in {run.version for run in runs}
        }

    def work(self) -> None:
        threads = [threading.Thread(target=self._in_thread) for _ in range(min(_THREADS, len(self.left)) - 1)]
        for thread in threads:
            thread.start()
        try:
            self._work()
        finally:
            for thread in threads:
                thread.join()

    def _in_thread(self) -> None:
        try:
            self._work()
        finally:
            db.close()

    def _work(self) -> None:
        while not self._stopped and time.monotonic() < self._end:
            try:
                run = self.left.popleft()
            except IndexError:
                return
            try:
                automation_steps.advance(self._automation, self._programs[run.version], run)
            except automation_steps.Halted:
                self.left.append(run)
                self._stopped = True
            except db.StoreUnavailable as error:
                self.left.append(run)
                self.lost, self._stopped = error, True
            except Exception as error:  # one that is broken must not keep the others
                _log.exception("run_not_advanced", extra={"run": run.id})
                automation_steps.stumble(run, error)


def _give_back(runs: Collection[Run]) -> None:
    """Due again at once, where nobody has touched them since."""
    now = clock.now_ms()
    if runs:
        db.in_transaction(
            lambda tx: tx.executemany(
                "UPDATE automation_run SET due_ms = ? WHERE id = ? AND fence = ? AND state = ?",
                [(now, run.id, run.fence, automation_runs.RUNNING) for run in runs],
            )
        )


def _settle(tx: db.Transaction, automation: Automation) -> None:
    """When it is to be looked at next. Whoever begins a run waits for this row, and then makes it sooner."""
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    found = tx.rows(
        f"SELECT next_ms, state FROM automation WHERE id = ? AND deleted_ms IS NULL{lock}", (automation.id,)
    )
    if not found or found[0][1] != automations.ACTIVE:
        return
    index = "FORCE INDEX (automationrun_automation_id_due_ms)" if tx.dialect == "mysql" else ""
    first = tx.rows(
        f"SELECT due_ms FROM automation_run {index} WHERE automation_id = ? AND due_ms IS NOT NULL ORDER BY due_ms"
        " LIMIT 1",
        (automation.id,),
    )
    times = [ms for ms in (found[0][0], first[0][0] if first else None) if ms is not None]
    tx.execute("UPDATE automation SET due_ms = ? WHERE id = ?", (min(times) if times else None, automation.id))


# --- housekeeping -----------------------------------------------------------------------------------


def collect() -> tuple[int, bool]:
    """Delete outcomes from long ago, and everything of automations that were deleted: a batch."""
    before = clock.now_ms() - _KEEP_MS
    # The oldest come first by their numbers, so that nothing is read which stays.
    oldest = db.rows("SELECT id, at_ms FROM automation_step ORDER BY id LIMIT ?", (_COLLECTED,))
    rows = [(row_id,) for row_id, at_ms in oldest if at_ms < before]
    gone = _delete("automation_step", rows)
    for (automation_id,) in db.rows("SELECT id FROM automation WHERE deleted_ms IS NOT NULL AND hears <> '#' LIMIT 10"):
        runs = db.rows("SELECT id FROM automation_run WHERE automation_id = ? LIMIT ?", (automation_id, _COLLECTED))
        if runs:
            marks = ",".join("?" * len(runs))
            steps = db.rows(f"SELECT id FROM automation_step WHERE run_id IN ({marks})", [row[0] for row in runs])
            gone += _delete("automation_step", steps) + _delete("automation_run", runs)
            return gone, True
        db.in_transaction(lambda tx, one=automation_id: _bury(tx, one))  # type: ignore[misc]
    return gone, len(rows) == _COLLECTED


def _delete(table: str, rows: Sequence[tuple[Any, ...]]) -> int:
    if rows:
        db.in_transaction(lambda tx: tx.executemany(f"DELETE FROM {table} WHERE id = ?", rows))
    return len(rows)


def _bury(tx: db.Transaction, automation_id: int) -> None:
    for table in ("automation_version", "automation_wave", "automation_member"):
        tx.execute(f"DELETE FROM {table} WHERE automation_id = ?", (automation_id,))
    # The row stays, so that its number is never another's.
    tx.execute("UPDATE automation SET hears = '#', `trigger` = '{}' WHERE id = ?", (automation_id,))
