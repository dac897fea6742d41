"""Who unsubscribes by a link: suppressed for the domain, off the list, told once; and how they take it back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import clock
from gateway.services import automation_signals, ledger, list_counts, suppressions
from gateway.services.ledger import Fact
from gateway.services.unsubscribe_links import Leaving
from models import database as db
from models.vocabulary import EventKind, SubscriberStatus

RULE = "unsubscribe:link"
"""What puts these rows on the suppression list; only they are taken back by a link."""

ONE_CLICK, PAGE, MAIL = "one_click", "page", "mail"
_log = logging.getLogger("commandpost.unsubscribe")


@dataclass(frozen=True, slots=True)
class State:
    """What the page shows: the sender's domain ('' unknown), the list ('' none), and what has ended."""

    domain: str
    list_name: str
    ended: bool  # all mail of the domain
    off_list: bool = False  # the mail to that list


def state(leaving: Leaving) -> State:
    """How things stand for that link."""
    rows = db.rows("SELECT name, account_id FROM sender_domain WHERE id = ?", (leaving.domain_id,))
    if not rows:
        return State("", "", False)
    ((name, account_id),) = rows
    address = suppressions.normalise(leaving.rcpt)
    lists = db.rows(
        "SELECT l.name, s.status FROM mail_list l LEFT JOIN subscriber s ON s.list_id = l.id AND s.address = ?"
        " WHERE l.id = ? AND l.account_id = ? AND l.deleted_ms IS NULL",
        (address, leaving.list_id, account_id),
    )
    scopes = {
        scope
        for (scope,) in db.rows(
            "SELECT domain_id FROM suppression WHERE account_id = ? AND address = ? AND domain_id IN (0, ?, ?)"
            " AND reason = ? AND (expires_ms IS NULL OR expires_ms > ?)",
            (
                account_id, address, leaving.domain_id, _list_scope(leaving), suppressions.UNSUBSCRIBE, clock.now_ms(),
            ),
        )
    }  # fmt: skip
    off = bool(lists) and (
        lists[0][1] == SubscriberStatus.UNSUBSCRIBED or suppressions.list_scope(leaving.list_id) in scopes
    )
    return State(name, lists[0][0] if lists else "", bool(scopes & {0, leaving.domain_id}), off)


def _list_scope(leaving: Leaving) -> int:
    """The `domain_id` of what holds for the mail to its list alone; without a list, that of the domain."""
    return suppressions.list_scope(leaving.list_id) if leaving.list_id else leaving.domain_id


def unsubscribe(*, leaving: Leaving, method: str, ip: str = "", list_only: bool = False) -> bool:
    """From the commit on nothing goes out to that address from the domain, what waits in the queue included.

    With `list_only` nothing that is sent to the list of the link; without a list that is all mail again.
    Says whether that is news; a second call is harmless. Once a message is past its retention, there is nothing
    left that an event could be of: the address is suppressed all the same.
    """

    def work(tx: db.Transaction) -> bool:
        news, facts = unsubscribe_in(tx, leaving, method, ip, list_only and leaving.list_id > 0)
        ledger.record(tx, facts)
        return news

    return db.in_transaction(work)


def by_mail(delivery_id: int) -> bool | None:
    """What the link does, for a mail to the address in List-Unsubscribe; None where the delivery is past retention."""
    rows = db.rows(
        "SELECT d.domain_id, d.rcpt, m.headers FROM delivery d JOIN message m ON m.id = d.message_id WHERE d.id = ?",
        (delivery_id,),
    )
    for domain_id, rcpt, headers in rows:
        leaving = Leaving(delivery_id, domain_id, int(orjson.loads(headers).get("list", 0)), rcpt)
        return unsubscribe(leaving=leaving, method=MAIL)
    return None


def unsubscribe_in(
    tx: db.Transaction,
    leaving: Leaving,
    method: str,
    ip: str = "",
    list_only: bool = False,
    *,
    rule: str = RULE,
    more: dict[str, Any] | None = None,
) -> tuple[bool, list[Fact]]:
    """The same inside a transaction, with the events for the caller to record in it.

    `rule` is what the suppression names, `more` what else the events say.
    """
    # Locked, so that two requests at once make one event.
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    tx.rows(f"SELECT id FROM delivery WHERE id = ?{lock}", (leaving.delivery_id,))
    account_id = _account(tx, leaving)
    if account_id is None:
        return False, []
    list_only = list_only and bool(
        tx.rows("SELECT id FROM mail_list WHERE id = ? AND account_id = ?", (leaving.list_id, account_id))
    )
    sent = tx.rows(
        "SELECT d.message_id, d.rcpt, m.tags, m.metadata, s.tracking_privacy, m.origin FROM delivery d"
        " JOIN message m ON m.id = d.message_id JOIN sender_domain s ON s.id = d.domain_id"
        " WHERE d.id = ? AND d.domain_id = ?",
        (leaving.delivery_id, leaving.domain_id),
    )
    added = suppressions.add(
        tx,
        account_id=account_id,
        domain_id=_list_scope(leaving) if list_only else leaving.domain_id,
        address=leaving.rcpt,
        reason=suppressions.UNSUBSCRIBE,
        message_id=sent[0][0] if sent else None,
        rule=rule,
    )
    moved = _move(tx, account_id, leaving, SubscriberStatus.ACTIVE, SubscriberStatus.UNSUBSCRIBED)
    if moved:
        automation_signals.of_subscribers(
            tx, automation_signals.UNSUBSCRIBED, account_id=account_id, list_id=leaving.list_id,
            people=[(None, leaving.rcpt)],
        )  # fmt: skip
    if not (added or moved):
        return False, []
    facts = []
    for message_id, rcpt, tags, metadata, privacy, origin in sent:
        data: dict[str, Any] = {"method": method} | (more or {})
        if leaving.list_id:
            data["list"] = leaving.list_id
            data["scope"] = "list" if list_only else "domain"
        if metadata:
            data["metadata"] = orjson.loads(metadata)
        fact = Fact(
            account_id, leaving.domain_id, EventKind.UNSUBSCRIBED, clock.now_ms(), message_id, leaving.delivery_id,
            rcpt, ip="" if privacy else ip[:45], data=data, tags=orjson.loads(tags or "[]"),
            origin=origin,
        )  # fmt: skip
        facts.append(fact)
    return True, facts


def resubscribe(*, leaving: Leaving) -> bool:
    """Take back what a link did, and nothing that was suppressed in another way; says whether there was something."""

    def work(tx: db.Transaction) -> bool:
        account_id = _account(tx, leaving)
        if account_id is None:
            return False
        gone = tx.execute(
            "DELETE FROM suppression WHERE account_id = ? AND address = ? AND domain_id IN (?, ?) AND reason = ?"
            " AND rule = ?",
            (
                account_id, suppressions.normalise(leaving.rcpt), leaving.domain_id, _list_scope(leaving),
                suppressions.UNSUBSCRIBE, RULE,
            ),
        ).rowcount  # fmt: skip
        if not gone:
            return False
        _move(tx, account_id, leaving, SubscriberStatus.UNSUBSCRIBED, SubscriberStatus.ACTIVE)
        return True

    back = db.in_transaction(work)
    if back:
        _log.info("resubscribed", extra={"domain_id": leaving.domain_id, "list_id": leaving.list_id})
    return back


def _account(tx: db.Transaction, leaving: Leaving) -> int | None:
    rows = tx.rows("SELECT account_id FROM sender_domain WHERE id = ?", (leaving.domain_id,))
    return int(rows[0][0]) if rows else None


def _move(
    tx: db.Transaction, account_id: int, leaving: Leaving, before: SubscriberStatus, after: SubscriberStatus
) -> bool:
    if not leaving.list_id:
        return False
    now = clock.now_ms()
    done = tx.execute(
        "UPDATE subscriber SET status = ?, status_ms = ?, updated_ms = ? WHERE list_id = ? AND address = ?"
        " AND account_id = ? AND status = ?",
        (
            int(after), now, now, leaving.list_id, suppressions.normalise(leaving.rcpt), account_id, int(before),
        ),
    )  # fmt: skip
    if done.rowcount:
        list_counts.moved(tx, leaving.list_id, before, after)
    return bool(done.rowcount)
