"""Many addresses validated behind the answer: piece by piece, with progress, going on where a killed worker ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import orjson

from gateway import clock, errors, ids, jobs
from gateway.services import identity, validations
from gateway.services.identity import Caller
from gateway.services.validations import Reason, Validation, Verdict
from models import database as db

PREFIX = "val"
MOST = 100_000
"""Addresses of one job."""

KEEP_DAYS = 30
EMAIL_LENGTH = 1000
_PIECE, _LEASE_MS, _ROWS = 200, 120_000, 500


@dataclass(frozen=True, slots=True)
class Job:
    """`done` of `total` have a result; `verdicts` counts them."""

    id: int
    uuid: UUID
    total: int
    done: int
    verdicts: dict[str, int]
    created_ms: int
    ended_ms: int | None

    @property
    def state(self) -> str:
        return "completed" if self.ended_ms is not None else "processing" if self.done else "queued"


def start(*, caller: Caller, emails: Sequence[str]) -> Job:
    """Keep the addresses and begin behind the answer; raises `TooManyAtOnce`, `Invalid`."""
    if not 0 < len(emails) <= MOST:
        raise errors.TooManyAtOnce(f"1 to {MOST} addresses are validated at once.", field="emails")
    if any(len(email) > EMAIL_LENGTH for email in emails):
        raise errors.Invalid(f"An address has at most {EMAIL_LENGTH} characters.", field="emails")
    now, uuid = clock.now_ms(), ids.new_uuid()

    def work(tx: db.Transaction) -> int:
        job_id = int(
            tx.execute(
                "INSERT INTO validation_job (uuid, account_id, domain_id, total, done, verdicts, due_ms, created_ms)"
                " VALUES (?, ?, ?, ?, 0, '{}', ?, ?)",
                (uuid.bytes, caller.account_id, caller.domain_id, len(emails), now, now),
            ).lastrowid
        )
        for at in range(0, len(emails), _ROWS):
            some = emails[at : at + _ROWS]
            tx.execute(
                "INSERT INTO validation_item (job_id, seq, email) VALUES " + ",".join(["(?, ?, ?)"] * len(some)),
                [value for seq, email in enumerate(some, at) for value in (job_id, seq, email)],
            )
        tx.after_commit(lambda: jobs.ring(jobs.VALIDATE), key=jobs.VALIDATE)
        return job_id

    job_id = db.in_transaction(work)
    return Job(job_id, uuid, len(emails), 0, {}, now, None)


def find(*, caller: Caller, job_id: str) -> Job:
    """Raises `NotFound`, for a foreign one too."""
    uuid = ids.uuid_of(PREFIX, job_id)
    rows = (
        db.rows(
            "SELECT id, total, done, verdicts, created_ms, ended_ms, domain_id FROM validation_job"
            " WHERE uuid = ? AND account_id = ?",
            (uuid.bytes, caller.account_id),
        )
        if uuid is not None
        else []
    )
    if uuid is None or not rows or caller.domain_id not in (None, rows[0][6]):
        raise errors.NotFound("There is no such validation.", what="validation")
    number, total, done, verdicts, created_ms, ended_ms, _ = rows[0]
    return Job(number, uuid, total, done, orjson.loads(verdicts), created_ms, ended_ms)


def results(*, job: Job, after: int = -1, count: int) -> list[tuple[int, Validation]]:
    """Results in the order of the addresses, behind a place."""
    rows = db.rows(
        "SELECT seq, result FROM validation_item WHERE job_id = ? AND seq > ? AND result IS NOT NULL"
        " ORDER BY seq LIMIT ?",
        (job.id, after, count),
    )
    return [(seq, _loaded(text)) for seq, text in rows]


def run(seconds: float) -> int:
    """Validate what is due, for up to about `seconds`; returns how many addresses. Safe anywhere, twice at once."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        claimed = _claim()
        if claimed is None:
            break
        count += _go_on(*claimed, end)
    return count


def _claim() -> tuple[int, int, int | None, int] | None:
    """(job, account, domain, lease) of one that is due, out of the sight of others until the lease ends."""
    now = clock.now_ms()
    due = db.rows(
        "SELECT id, account_id, domain_id, due_ms FROM validation_job WHERE due_ms <= ? ORDER BY due_ms LIMIT 8", (now,)
    )
    lease = now + _LEASE_MS
    for job_id, account_id, domain_id, due_ms in due:
        if _lease(job_id, due_ms, lease):
            return job_id, account_id, domain_id, lease
    return None


def _lease(job_id: int, due_ms: int, until_ms: int) -> bool:
    sql = "UPDATE validation_job SET due_ms = ? WHERE id = ? AND due_ms = ?"
    return bool(db.in_transaction(lambda tx: tx.execute(sql, (until_ms, job_id, due_ms)).rowcount))


def _go_on(job_id: int, account_id: int, domain_id: int | None, lease: int, end: float) -> int:
    caller = replace(identity.for_account(account_id), domain_id=domain_id)
    count = 0
    while time.monotonic() < end:
        rows = db.rows(
            "SELECT i.seq, i.email FROM validation_item i JOIN validation_job j ON j.id = i.job_id"
            " WHERE i.job_id = ? AND i.seq >= j.done ORDER BY i.seq LIMIT ?",
            (job_id, _PIECE),
        )
        found = validations.validate(caller=caller, emails=[email for _, email in rows])
        if not _write(job_id, lease, [seq for seq, _ in rows], found):
            return count  # the lease was lost, somebody else goes on
        count += len(rows)
        if len(rows) < _PIECE:
            return count
    _write(job_id, lease, [], [], again=True)
    return count


def _write(job_id: int, lease: int, places: list[int], found: list[Validation], *, again: bool = False) -> bool:
    """Results and progress in one transaction; the end where nothing was left. False: the job is not ours any more."""
    now = clock.now_ms()

    def work(tx: db.Transaction) -> bool:
        rows = tx.rows("SELECT done, total, verdicts FROM validation_job WHERE id = ? AND due_ms = ?", (job_id, lease))
        if not rows:
            return False
        done, total, verdicts = rows[0]
        if found:
            tx.executemany(
                "UPDATE validation_item SET result = ? WHERE job_id = ? AND seq = ?",
                [(_dumped(one), job_id, seq) for seq, one in zip(places, found, strict=True)],
            )
            done = places[-1] + 1
        counts = Counter(orjson.loads(verdicts)) + Counter(one.verdict.value for one in found)
        ended = done >= total
        tx.execute(
            "UPDATE validation_job SET done = ?, verdicts = ?, due_ms = ?, ended_ms = ? WHERE id = ?",
            (
                done, orjson.dumps(counts).decode(), None if ended else now if again else lease,
                now if ended else None, job_id,
            ),
        )  # fmt: skip
        return True

    return db.in_transaction(work)


def collect() -> tuple[int, bool]:
    """Delete a job that ended long ago, with its addresses; how many rows went, and whether there may be more."""
    before = clock.now_ms() - KEEP_DAYS * clock.DAY_MS
    rows = db.rows("SELECT id FROM validation_job WHERE created_ms < ? ORDER BY created_ms LIMIT 1", (before,))
    if not rows:
        return 0, False
    (job_id,) = rows[0]

    def work(tx: db.Transaction) -> int:
        some = [seq for (seq,) in tx.rows("SELECT seq FROM validation_item WHERE job_id = ? LIMIT 1000", (job_id,))]
        if not some:
            return int(tx.execute("DELETE FROM validation_job WHERE id = ?", (job_id,)).rowcount)
        marks = ",".join("?" * len(some))
        return int(
            tx.execute(f"DELETE FROM validation_item WHERE job_id = ? AND seq IN ({marks})", (job_id, *some)).rowcount
        )

    return db.in_transaction(work), True


def _dumped(one: Validation) -> str:
    return orjson.dumps(one).decode()


def _loaded(text: str) -> Validation:
    data = orjson.loads(text)
    data["verdict"] = Verdict(data["verdict"])
    data["reasons"] = [Reason(**reason) for reason in data["reasons"]]
    return Validation(**data)
