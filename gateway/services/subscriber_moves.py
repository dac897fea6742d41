"""Another status for a subscriber, with everything that hangs on it: counts, suppression, question, notice."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from gateway import clock, ids
from gateway.services import automation_signals, confirmations, list_counts, notices, suppressions
from gateway.services.suppressions import Entry
from models import database as db
from models.vocabulary import NoticeKind, SubscriberStatus

UNSUBSCRIBE_RULE = "unsubscribe:list"
"""What puts those who are unsubscribed from a list on its suppression list; only that is lifted with their return."""

_ACTIVE, _UNSUBSCRIBED = SubscriberStatus.ACTIVE, SubscriberStatus.UNSUBSCRIBED
_REMOVED, _PENDING = SubscriberStatus.REMOVED, SubscriberStatus.PENDING


def confirm(*, list_id: int, subscriber_id: int, address: str) -> bool:
    """They said themselves that it was they: active from now on; False where there is nobody who was asked."""

    def work(tx: db.Transaction) -> bool:
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        found = tx.rows(
            "SELECT s.account_id, s.status FROM subscriber s JOIN mail_list l ON l.id = s.list_id"
            f" WHERE s.id = ? AND s.list_id = ? AND s.address = ? AND l.deleted_ms IS NULL{lock}",
            (subscriber_id, list_id, address),
        )
        if not found or found[0][1] not in (_PENDING, _ACTIVE):
            return False
        account_id = int(found[0][0])
        # They ask for it themselves: that they once wanted no more of this list holds no longer.
        suppressions.remove(
            tx,
            account_id=account_id,
            domain_id=suppressions.list_scope(list_id),
            address=address,
            reason=suppressions.UNSUBSCRIBE,
        )
        live = confirmations.is_live(tx, subscriber_id=subscriber_id)
        move(tx, account_id, list_id, subscriber_id, _ACTIVE, live=live)
        return True

    return db.in_transaction(work)


def unsubscribe_addresses(tx: db.Transaction, *, account_id: int, list_id: int, found: Sequence[str]) -> None:
    """Unsubscribe those of these normalised addresses that are on the list; part of a suppression of that list."""
    for start in range(0, len(found), 500):
        some = found[start : start + 500]
        sql = f"SELECT id FROM subscriber WHERE list_id = ? AND address IN ({','.join('?' * len(some))})"
        for (subscriber_id,) in tx.rows(sql, (list_id, *some)):
            move(tx, account_id, list_id, subscriber_id, _UNSUBSCRIBED)


def move(
    tx: db.Transaction,
    account_id: int,
    list_id: int,
    subscriber_id: int,
    status: SubscriberStatus,
    *,
    told: bool = True,
    live: bool = True,
) -> None:
    """Give one another status, with everything that hangs on it; nothing where they have it, or are removed.

    Not `live`: a test key does it, so no live automation hears of it, and who is asked is asked by a test.
    """
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    found = tx.rows(
        "SELECT status, email, address, created_ms FROM subscriber WHERE id = ? AND list_id = ? AND account_id = ?"
        f" AND status NOT IN (?, ?){lock}",
        (subscriber_id, list_id, account_id, int(status), int(_REMOVED)),
    )
    if not found:
        return
    before, email, address, created_ms = found[0]
    now = clock.now_ms()
    tx.execute(
        "UPDATE subscriber SET status = ?, status_ms = ?, updated_ms = ? WHERE id = ?",
        (int(status), now, now, subscriber_id),
    )
    list_counts.moved(tx, list_id, before, status)
    if before == _PENDING:
        confirmations.forget(tx, subscriber_id=subscriber_id)
    if status is _PENDING:
        confirmations.ask(tx, account_id=account_id, list_id=list_id, subscriber_ids=[subscriber_id], live=live)
    elif status is _UNSUBSCRIBED:
        suppress(tx, account_id, list_id, [address])
    elif status is _ACTIVE:
        tx.execute(
            "DELETE FROM suppression WHERE account_id = ? AND address = ? AND domain_id = ? AND rule = ?",
            (account_id, address, suppressions.list_scope(list_id), UNSUBSCRIBE_RULE),
        )
    word = {_ACTIVE: automation_signals.ADDED, _UNSUBSCRIBED: automation_signals.UNSUBSCRIBED}.get(status)
    if word is not None:
        automation_signals.of_subscribers(
            tx, word, account_id=account_id, list_id=list_id, people=[(subscriber_id, email)], live=live
        )
    kind = {_UNSUBSCRIBED: NoticeKind.SUBSCRIBER_UNSUBSCRIBED}.get(status)
    if before == _PENDING and status is _ACTIVE:
        kind = NoticeKind.SUBSCRIBER_CONFIRMED
    if kind is not None and told:
        ((uuid, name),) = tx.rows("SELECT uuid, name FROM mail_list WHERE id = ?", (list_id,))
        data = {
            "list_id": ids.public_id("lst", UUID(bytes=bytes(uuid))),
            "list": name,
            "subscriber_id": ids.numbered("sub", created_ms, subscriber_id),
            "email": email,
        }
        notices.record(tx, kind, account_id=account_id, data=data)


def suppress(tx: db.Transaction, account_id: int, list_id: int, found: Sequence[str]) -> None:
    """Nothing that goes to the list comes to them any more, what waits in the queue included."""
    scope = suppressions.list_scope(list_id)
    for start in range(0, len(found), suppressions.BATCH):
        entries = [
            Entry(address, suppressions.UNSUBSCRIBE, scope, rule=UNSUBSCRIBE_RULE)
            for address in found[start : start + suppressions.BATCH]
        ]
        suppressions.put(tx, account_id=account_id, entries=entries)
