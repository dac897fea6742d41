"""Erasing one recipient of an account: its address gives way to a pseudonym, in small steps that may be broken off.

A suppression of the address stays, without its details: whoever asked not to be written to must not be, and no hash
of an address is less personal than the address.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from gateway import clock, errors, jobs, vault
from gateway.services import audit, erasing, notices, outcomes, suppressions
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import DeliveryState, EventKind, NoticeKind

MOST_LISTED = 100

_WINDOW = 5000  # deliveries that are looked at in one statement
_GAP_S = 0.002
_COLUMNS = "id, account_id, pseudonym, sealed, after, upto, deliveries, created_ms, ended_ms"


@dataclass(frozen=True, slots=True)
class Erasure:
    """`after` of `upto` is how far it has come; `ended_ms` None while it goes on. `deliveries` were found so far."""

    id: int
    account_id: int
    pseudonym: str
    sealed: str | None
    after: int
    upto: int
    deliveries: int
    created_ms: int
    ended_ms: int | None

    @property
    def percent(self) -> int:
        return 100 if self.ended_ms is not None else min(99, 100 * self.after // max(self.upto, 1))


def begin(*, caller: Caller, address: str) -> Erasure:
    """Erase an address from all that the account has of it now; the one that goes on where one does already.

    Mail to it that waits is canceled; the work is done behind the answer. Raises `InvalidAddress`.
    """
    address = suppressions.normalise(address)
    if "@" not in address:
        raise errors.InvalidAddress()
    pseudonym = f"erased-{vault.sign('erasure', f'{caller.account_id}:{address}'.encode(), 12).hex()}@erased.invalid"

    def work(tx: db.Transaction) -> Erasure:
        found = tx.rows(
            f"SELECT {_COLUMNS} FROM erasure WHERE account_id = ? AND pseudonym = ? AND ended_ms IS NULL",
            (caller.account_id, pseudonym),
        )
        if found:
            return Erasure(*found[0])
        # First of all, so that no list makes new deliveries to it.
        erasing.people(tx, account_id=caller.account_id, address=address)
        upto = int(tx.rows("SELECT MAX(id) FROM delivery")[0][0] or 0)
        now = clock.now_ms()
        made = tx.execute(
            "INSERT INTO erasure (account_id, pseudonym, sealed, after, upto, deliveries, created_ms)"
            " VALUES (?, ?, ?, 0, ?, 0, ?)",
            (caller.account_id, pseudonym, vault.seal(address, _row(caller.account_id, pseudonym)), upto, now),
        )
        tx.after_commit(lambda: jobs.ring(jobs.HOUSEKEEPING), key=jobs.HOUSEKEEPING)
        audit.record(tx, caller=caller, action="address.erase", what=f"erasure:{pseudonym}")
        return Erasure(int(made.lastrowid), caller.account_id, pseudonym, None, 0, upto, 0, now, None)

    return db.in_transaction(work)


def list_(*, caller: Caller) -> list[Erasure]:
    """The account's erasures, the newest first; none of them names an address."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM erasure WHERE account_id = ? ORDER BY id DESC LIMIT ?",
        (caller.account_id, MOST_LISTED),
    )
    return [Erasure(*row) for row in rows]


def collect() -> tuple[int, bool]:
    """One step of housekeeping, a window of the oldest that can go on; deliveries erased, whether more is to do."""
    for row in db.rows(f"SELECT {_COLUMNS} FROM erasure WHERE ended_ms IS NULL ORDER BY id"):
        done = _advance(Erasure(*row))
        if done is not None:
            time.sleep(_GAP_S)
            return done, True
    return 0, False


def _advance(erasure: Erasure) -> int | None:
    """Erase what the next window has; None while one of its deliveries is being sent in this moment."""
    address = vault.unseal(erasure.sealed or "", _row(erasure.account_id, erasure.pseudonym))
    until = min(erasure.after + _WINDOW, erasure.upto)
    found = db.rows(
        "SELECT id, message_id, state, due_ms FROM delivery WHERE id > ? AND id <= ? AND account_id = ?"
        " AND LOWER(rcpt) = ? ORDER BY id",
        (erasure.after, until, erasure.account_id, address),
    )
    if any(state == DeliveryState.CLAIMED for _, _, state, _ in found):
        return None
    waiting = [id_ for id_, _, _, due_ms in found if due_ms is not None]
    for start in range(0, len(waiting), 500):
        outcomes.settle(
            waiting[start : start + 500],
            DeliveryState.CANCELED,
            EventKind.CANCELED,
            {"reason": "the address is erased"},
        )
    mine: dict[int, list[int]] = {}
    for id_, message_id, _, _ in found:
        mine.setdefault(message_id, []).append(id_)
    for message_id, ids in mine.items():
        erasing.message(message_id, ids, account_id=erasure.account_id, address=address, pseudonym=erasure.pseudonym)

    def work(tx: db.Transaction) -> None:
        tx.execute(
            "UPDATE erasure SET after = ?, deliveries = deliveries + ? WHERE id = ? AND after < ?",
            (until, len(found), erasure.id, until),
        )
        if until < erasure.upto:
            return
        erasing.people(tx, account_id=erasure.account_id, address=address)
        if tx.execute(
            "UPDATE erasure SET sealed = NULL, ended_ms = ? WHERE id = ? AND ended_ms IS NULL",
            (clock.now_ms(), erasure.id),
        ).rowcount:
            notices.record(
                tx,
                NoticeKind.ADDRESS_ERASED,
                account_id=erasure.account_id,
                data={"pseudonym": erasure.pseudonym, "deliveries": erasure.deliveries + len(found)},
            )

    db.in_transaction(work)
    return len(found)


def _row(account_id: int, pseudonym: str) -> str:
    return f"erasure:{account_id}:{pseudonym}"
