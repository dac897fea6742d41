"""The health of sender domains: checked on schedule and at first sight, kept with its past, told when it changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import orjson

from gateway import clock, ids
from gateway.mail import dkim
from gateway.services import domain_keys, health_checks, notices, reach
from gateway.services.health_checks import FAIL, PASS, UNKNOWN, WARN, Finding, Record, Subject
from gateway.services.identity import Caller
from models import database as db
from models.domain import SenderDomain
from models.vocabulary import DOMAIN_ENABLED, KEY_ACTIVE, NoticeKind

EVERY_MS = 12 * 3_600_000
KEEP_DAYS = 90
"""Days that earlier checks are kept."""
FIRST_SIGHT_MOST = 8
"""Domains that one request has checked; the others have no score until their turn comes."""
PAST_MOST = 30
"""Earlier checks of one answer."""
AT_ONCE = 4
_LEASE_MS = 10 * 60_000
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Health:
    """The last check of one domain; `past` are (time, score), the newest first."""

    domain_id: int
    domain: str
    score: int | None
    findings: list[Finding]
    checked_ms: int | None  # None: not yet
    past: list[tuple[int, int | None]]


def latest(*, caller: Caller, name: str = "") -> list[Health]:
    """The last check of each domain of the key, or of that one; who was never checked is checked now.

    Raises `NotFound`.
    """
    wanted = reach.chosen(caller=caller, name=name)
    known = {row.domain_id for row in _rows([domain.id for domain in wanted])}
    fresh = [domain.id for domain in wanted if domain.id not in known][:FIRST_SIGHT_MOST]
    if fresh:
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="domain-health") as pool:
            found = list(pool.map(health_checks.check, [_subject(domain_id) for domain_id in fresh]))
        for domain_id, findings in zip(fresh, found, strict=True):
            note(domain_id, findings)
    rows = {row.domain_id: row for row in _rows([domain.id for domain in wanted])}
    return [
        Health(domain.id, domain.name, row.score, row.findings, row.checked_ms, _past(domain.id))
        if (row := rows.get(domain.id)) is not None
        else Health(domain.id, domain.name, None, [], None, [])
        for domain in wanted
    ]


@dataclass(frozen=True, slots=True)
class _Row:
    domain_id: int
    score: int | None
    findings: list[Finding]
    checked_ms: int


def _rows(domain_ids: Sequence[int]) -> list[_Row]:
    if not domain_ids:
        return []
    marks = ",".join("?" * len(domain_ids))
    return [
        _Row(domain_id, score, unpacked(findings), checked_ms)
        for domain_id, score, findings, checked_ms in db.rows(
            f"SELECT domain_id, score, findings, checked_ms FROM domain_health WHERE domain_id IN ({marks})"
            " ORDER BY domain_id",
            domain_ids,
        )
    ]


def unpacked(text: str) -> list[Finding]:
    return [
        Finding(**(one | {"records": [Record(**record) for record in one["records"]]})) for one in orjson.loads(text)
    ]


def _past(domain_id: int) -> list[tuple[int, int | None]]:
    return [
        (at_ms, score)
        for at_ms, score in db.rows(
            "SELECT at_ms, score FROM domain_health_past WHERE domain_id = ? ORDER BY id DESC LIMIT ?",
            (domain_id, PAST_MOST),
        )
    ]


def _subject(domain_id: int) -> Subject:
    domain = SenderDomain.get_by_id(domain_id)
    keys = [key for key in domain_keys.living([domain_id]) if key.state == KEY_ACTIVE]
    wanted = {(key.selector, dkim.dns_value(key.algorithm, key.public)) for key in keys}
    boxes = db.rows("SELECT 1 FROM mailbox WHERE domain_id = ? AND deleted_ms IS NULL LIMIT 1", (domain_id,))
    return Subject(domain.name, sorted(wanted), bool(boxes))


def note(domain_id: int, findings: Sequence[Finding]) -> None:
    """Write one check, and tell when parts got worse or better than they were at the one before.

    A part that DNS did not answer for is neither: what was known of it stays for comparison.
    """
    score, now = health_checks.score(findings), clock.now_ms()
    kept = orjson.dumps([asdict(one) for one in findings]).decode()
    statuses = {one.part: one.status for one in findings}

    def work(tx: db.Transaction) -> None:
        owner = tx.rows("SELECT account_id, name FROM sender_domain WHERE id = ? AND deleted_ms IS NULL", (domain_id,))
        if not owner:
            return
        account_id, name = owner[0]
        before = tx.rows("SELECT score FROM domain_health WHERE domain_id = ?", (domain_id,))
        known = _known(tx, domain_id, statuses)
        due_ms = now + round(EVERY_MS * ids.jitter(0.1))
        values = (account_id, score, kept, now, due_ms, domain_id)
        if before:
            tx.execute(
                "UPDATE domain_health SET account_id = ?, score = ?, findings = ?, checked_ms = ?, due_ms = ?"
                " WHERE domain_id = ?",
                values,
            )
        else:
            ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
            tx.execute(
                f"{ignore} INTO domain_health (account_id, score, findings, checked_ms, due_ms, domain_id)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
        tx.execute(
            "INSERT INTO domain_health_past (domain_id, at_ms, score, statuses) VALUES (?, ?, ?, ?)",
            (domain_id, now, score, orjson.dumps(statuses).decode()),
        )
        worse = [part for part, status in statuses.items() if _rank(status) > _rank(known.get(part, status))]
        better = [part for part, status in statuses.items() if 0 <= _rank(status) < _rank(known.get(part, status))]
        if worse or better:
            data = {"domain": name, "score": score, "previous_score": before[0][0] if before else None}
            notices.record(
                tx,
                NoticeKind.DOMAIN_HEALTH_CHANGED,
                account_id=account_id,
                domain_id=domain_id,
                data=data | {"worse": worse, "better": better},
            )

    db.in_transaction(work)


def _known(tx: db.Transaction, domain_id: int, parts: dict[str, str]) -> dict[str, str]:
    """What each part was when DNS last answered for it, in the last few checks."""
    known: dict[str, str] = {}
    for (text,) in tx.rows(
        "SELECT statuses FROM domain_health_past WHERE domain_id = ? ORDER BY id DESC LIMIT 10", (domain_id,)
    ):
        for part, status in orjson.loads(text).items():
            if status != UNKNOWN and part in parts:
                known.setdefault(part, status)
    return known


def _rank(status: str) -> int:
    return {PASS: 0, WARN: 1, FAIL: 2}.get(status, -1)


def run(seconds: float) -> int:
    """Check enabled domains that are due or were never checked, for up to about `seconds`; how many.

    Safe anywhere, twice at once.
    """
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        claimed = _claim()
        if not claimed:
            break
        with ThreadPoolExecutor(max_workers=len(claimed), thread_name_prefix="domain-health") as pool:
            found = list(pool.map(health_checks.check, [_subject(domain_id) for domain_id in claimed]))
        for domain_id, findings in zip(claimed, found, strict=True):
            note(domain_id, findings)
        count += len(claimed)
    return count


def _claim() -> list[int]:
    """Some domains that are due, out of the sight of others for a while; a killed check comes back by itself."""
    now = clock.now_ms()
    due = db.rows(
        "SELECT h.domain_id, h.due_ms FROM domain_health h JOIN sender_domain d ON d.id = h.domain_id"
        " WHERE h.due_ms <= ? AND d.deleted_ms IS NULL AND d.status = ? ORDER BY h.due_ms LIMIT ?",
        (now, DOMAIN_ENABLED, AT_ONCE),
    )
    fresh = db.rows(
        "SELECT d.id, d.account_id FROM sender_domain d LEFT JOIN domain_health h ON h.domain_id = d.id"
        " WHERE h.domain_id IS NULL AND d.deleted_ms IS NULL AND d.status = ? LIMIT ?",
        (DOMAIN_ENABLED, AT_ONCE - len(due)),
    )

    def work(tx: db.Transaction) -> list[int]:
        move = "UPDATE domain_health SET due_ms = ? WHERE domain_id = ? AND due_ms = ?"
        mine = [key for key, at_ms in due if tx.execute(move, (now + _LEASE_MS, key, at_ms)).rowcount == 1]
        return mine + [key for key, _ in fresh]

    return list(db.in_transaction(work)) if due else [key for key, _ in fresh]


def collect() -> tuple[int, bool]:
    """Delete a batch of checks that are too old; how many, and whether there may be more."""
    before_ms = clock.now_ms() - KEEP_DAYS * clock.DAY_MS
    rows = db.rows("SELECT id FROM domain_health_past WHERE at_ms < ? LIMIT ?", (before_ms, _BATCH))
    if rows:
        db.in_transaction(lambda tx: tx.executemany("DELETE FROM domain_health_past WHERE id = ?", rows))
    return len(rows), len(rows) == _BATCH
