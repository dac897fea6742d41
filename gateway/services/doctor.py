"""What an operator wants checked: one finding each, with what to do about it."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway import clock, config
from gateway.dns import resolver as dns
from gateway.services import audit_head, held, schema, shaping
from models import database as db
from models.vocabulary import LaneKind

OVERDUE_SECONDS = 120
"""A row that is due for longer waits for a worker that does not come: the sweeper rings every five seconds."""
SLOW_FSYNC_MS = 5.0
SILENT_DAYS = 4
"""Providers try for up to three days before they give up and say so."""

_OLDEST = {
    # The first row of each lane by the index on (lane, due): history is never read.
    LaneKind.DELIVER: "SELECT MIN(first) FROM (SELECT (SELECT d.due_ms FROM delivery d WHERE d.lane_id = l.id"
    " AND d.due_ms IS NOT NULL ORDER BY d.due_ms LIMIT 1) AS first"
    " FROM lane l WHERE l.kind = ? AND l.paused_until_ms <= ?) AS firsts",
    LaneKind.WEBHOOK: "SELECT MIN(first) FROM (SELECT (SELECT d.due_ms FROM webhook_delivery d"
    " WHERE d.webhook_id = l.endpoint_id AND d.due_ms IS NOT NULL ORDER BY d.due_ms LIMIT 1) AS first"
    " FROM lane l JOIN webhook w ON w.id = l.endpoint_id AND w.status = 'active' AND w.deleted_ms IS NULL"
    " WHERE l.kind = ? AND l.paused_until_ms <= ?) AS firsts",
}
_LOST = (
    "SELECT COUNT(*) FROM (SELECT 1 FROM delivery d WHERE d.lane_id IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM lane l WHERE l.id = d.lane_id) LIMIT 1000) AS lost"
)
# A CHECK constraint forbids these; a database that was copied without its constraints may have them all the same.
_TIMELESS = "SELECT COUNT(*) FROM (SELECT 1 FROM delivery WHERE lane_id IS NOT NULL AND due_ms IS NULL LIMIT 1000) AS t"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check; `detail` says what was seen, and what to do where it failed."""

    name: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Check database, migrations, queue, delivery, disk and DNS; never raises."""
    settings = config.settings()
    database = _finding("database", _database)
    findings = [database]
    if database.ok:
        findings += [
            _finding("migrations", _migrations),
            _finding("deliveries", lambda: _overdue(LaneKind.DELIVER)),
            _finding("webhooks", lambda: _overdue(LaneKind.WEBHOOK)),
            _finding("lanes", _lanes),
            _finding("limits", _limits),
            _finding("due times", _due_times),
            _finding("held", _held),
            _finding("campaigns", lambda: _behind("campaign", "")),
            _finding("automations", lambda: _behind("automation", " AND state = 'active' AND deleted_ms IS NULL")),
            _finding("handed over", _handed_over),
            _finding("audit log", _audit_log),
        ]
    return [
        *findings,
        _finding("delivery", lambda: _delivery(settings.delivery)),
        _finding("fsync", lambda: _fsync(settings.data)),
        _finding("dns", lambda: _dns(settings)),
    ]


def _finding(name: str, check: Callable[[], tuple[bool, str]]) -> Finding:
    try:
        return Finding(name, *check())
    except Exception as error:
        return Finding(name, False, f"{type(error).__name__}: {error}")


def _database() -> tuple[bool, str]:
    started = time.perf_counter()
    db.rows("SELECT 1")
    schema.check_server()
    return True, f"{db.dialect()} answers in {(time.perf_counter() - started) * 1000:.1f} ms"


def _migrations() -> tuple[bool, str]:
    waiting = schema.pending()
    return not waiting, f"pending: {', '.join(waiting)}; run `commandpost migrate`" if waiting else "all applied"


def _overdue(kind: LaneKind) -> tuple[bool, str]:
    now = clock.now_ms()
    oldest = db.rows(_OLDEST[kind], (int(kind), now))[0][0]
    seconds = 0 if oldest is None else max(0, now - int(oldest)) // 1000
    if seconds > OVERDUE_SECONDS:
        return False, f"the oldest is overdue by {seconds} s: is a worker running?"
    return True, f"the oldest is overdue by {seconds} s" if seconds else "nothing is overdue"


def _behind(table: str, where: str) -> tuple[bool, str]:
    """Whether something's time has come and no worker looks at it."""
    now = clock.now_ms()
    oldest = db.rows(f"SELECT MIN(due_ms) FROM {table} WHERE due_ms <= ?{where}", (now,))[0][0]
    seconds = 0 if oldest is None else (now - int(oldest)) // 1000
    if seconds > OVERDUE_SECONDS:
        return False, f"the oldest is overdue by {seconds} s: is a worker running?"
    return True, f"the oldest is overdue by {seconds} s" if seconds else "nothing is overdue"


def _lanes() -> tuple[bool, str]:
    lost = int(db.rows(_LOST)[0][0])
    if lost:
        return False, f"{lost} deliveries are in no lane, so nobody claims them"
    return True, "every delivery is in a lane"


def _due_times() -> tuple[bool, str]:
    stuck = int(db.rows(_TIMELESS)[0][0])
    if stuck:
        return False, f"{stuck} deliveries wait without a due time, so nobody claims them: is a CHECK constraint gone?"
    return True, "every delivery that waits has one"


def _held() -> tuple[bool, str]:
    """Nothing is wrong with them, but only a person lets them go."""
    total, _ = held.list_(caller=None, count=0)
    return True, f"{total} wait for a person: see `commandpost queue held`" if total else "nothing waits for a person"


def _handed_over() -> tuple[bool, str]:
    """A provider that was going to report, and does not: its hook may be gone, or its signing key changed."""
    before_ms = clock.now_ms() - SILENT_DAYS * clock.DAY_MS
    silent = db.rows(
        "SELECT transport, COUNT(*) FROM handed_over WHERE at_ms < ? GROUP BY transport ORDER BY 2 DESC LIMIT 5",
        (before_ms,),
    )
    if silent:
        each = ", ".join(f"{n} by {transport}" for transport, n in silent)
        return False, f"taken more than {SILENT_DAYS} days ago and not reported since: {each}; is the hook set up?"
    waiting = int(db.rows("SELECT COUNT(*) FROM handed_over")[0][0])
    return True, f"{waiting} wait for word of a provider" if waiting else "no provider owes word"


def _audit_log() -> tuple[bool, str]:
    """Its end; `commandpost audit verify` looks at all of it."""
    head, kept = audit_head.read(), audit_head.remembered()
    if head is not None and not head.is_signed:
        return False, "its end is not signed by a secret of the settings"
    if kept is not None and audit_head.disagrees(kept, head or audit_head.Head()):
        return False, f"it lacks an entry that this host has seen; after a restore, remove {audit_head.copy_path()}"
    before_ms = clock.now_ms() - OVERDUE_SECONDS * 1000
    late = db.rows("SELECT at_ms FROM audit_entry WHERE seq IS NULL ORDER BY id LIMIT 1")
    if late and late[0][0] < before_ms:
        return False, "entries wait for their place: is a worker running, or were they put in by somebody else?"
    return True, f"{head.last_seq if head is not None else 0} entries were written; its end is signed"


def _limits() -> tuple[bool, str]:
    """Never wrong by itself: a limit is an answer to what a destination said."""
    found = shaping.figures()
    if not found["limits"]:
        return True, "no destination is limited"
    return True, f"{found['limits']} hold, {found['paused']} destinations are paused; see `commandpost limit list`"


def _delivery(delivery: str) -> tuple[bool, str]:
    if delivery in config.NO_WAY_OUT:
        return False, f"{config.PREFIX}DELIVERY is {delivery}: no mail leaves; set direct or smtp://host:port"
    return True, delivery.rpartition("@")[2]


def _fsync(folder: Path) -> tuple[bool, str]:
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(20):
            file.write(b"\0" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - started) * 1000)
    median = statistics.median(took)
    detail = f"{median:.2f} ms"
    if median > SLOW_FSYNC_MS and db.dialect() == "sqlite":
        detail += f": SQLite takes about {1000 / median:.0f} messages a second at most on this disk"
    return True, detail


def _dns(settings: config.Settings) -> tuple[bool, str]:
    """Any answer will do, also that there is no such name."""
    started = time.perf_counter()
    found = dns.resolver().mx(settings.hostname)
    took = (time.perf_counter() - started) * 1000
    return True, f"answers in {took:.0f} ms ({len(found)} MX of {settings.hostname})"
