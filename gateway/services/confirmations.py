"""Double opt-in: who is put on such a list gets a mail that asks whether it was they, and a link that says so.

A row says that a mail is due; a worker hands it to the engine under an idempotency key, so that one that died in
between sends nothing twice. The link says itself for whom it is and until when it holds.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway import clock, errors, jobs
from gateway.mail import address as addresses
from gateway.mail.draft import Draft, Mailbox
from gateway.services import identity, link_tokens, messages, senders, templates, tracking_links
from gateway.services.identity import Caller
from gateway.services.link_tokens import Kind
from models import database as db
from models.vocabulary import DOMAIN_ENABLED, Stream, SubscriberStatus

DOUBLE_OPT_IN, FROM, TEMPLATE, HOURS = "double_opt_in", "from", "template", "hours"
"""The options of a list; the template is the number of one that has `{{ confirm_url }}`."""

PATH = "/confirm/"
HOURS_DEFAULT, HOURS_MOST = 168, 8_760
RESEND_AFTER_MS = 10 * 60_000
"""Between two mails to one subscriber."""
MAILS_A_DAY = 3

_LEASE_MS = 60_000
_AGAIN_MS = 10 * 60_000
_BATCH = 100
_SUBJECT = "Please confirm your subscription to {{ list }}"
_HTML = (
    "<p>Somebody, hopefully you, asked for {{ list }} to be sent to {{ email }}.</p>"
    '<p><a href="{{ confirm_url }}">Yes, I want to get it</a></p>'
    "<p>If it was not you, do nothing: you get no further mail.</p>"
)
_TEXT = (
    "Somebody, hopefully you, asked for {{ list }} to be sent to {{ email }}.\n\n"
    "If you want to get it, confirm it here:\n{{ confirm_url }}\n\n"
    "If it was not you, do nothing: you get no further mail.\n"
)
_log = logging.getLogger("commandpost.confirmations")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a genuine link says."""

    subscriber_id: int
    list_id: int
    address: str
    until_s: int

    @property
    def is_over(self) -> bool:
        return clock.now_ms() >= self.until_s * 1000


@dataclass(frozen=True, slots=True)
class State:
    """What the page shows; `status` None: there is nobody any more who was asked."""

    list_name: str
    status: SubscriberStatus | None


def checked(*, caller: Caller, old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a list after a change; raises `Invalid`, and `NotFound` for the template.

    With double opt-in a sender is needed, of an enabled domain of the account.
    """
    found = {name: value for name, value in (dict(old) | dict(changes)).items() if value is not None}
    found = {name: found[name] for name in (DOUBLE_OPT_IN, FROM, TEMPLATE, HOURS) if name in found}
    if FROM in found:
        mailbox = addresses.parse_mailbox(str(found[FROM]))
        found[FROM] = f"{mailbox.name} <{mailbox.email}>" if mailbox.name else mailbox.email
        if _domain(caller.account_id, mailbox.email) is None:
            raise errors.Invalid("Its domain is not an enabled sending domain of the account.", field="confirm_from")
    if not found.get(DOUBLE_OPT_IN):
        found.pop(DOUBLE_OPT_IN, None)
    elif FROM not in found:
        raise errors.Invalid("Double opt-in needs an address that its mail comes from.", field="confirm_from")
    if TEMPLATE in found:
        names = templates.find(caller=caller, template_id=found[TEMPLATE]).variables()
        if "confirm_url" not in names:
            raise errors.Invalid("The template has no {{ confirm_url }}.", field="confirm_template_id")
    return found


def _domain(account_id: int, email: str) -> int | None:
    """The enabled domain of the account that the address belongs to, the nearest where there are several."""
    host = email.rpartition("@")[2].lower()
    found = [
        (len(name), domain_id)
        for domain_id, name in db.rows(
            "SELECT id, name FROM sender_domain WHERE account_id = ? AND status = ? AND deleted_ms IS NULL",
            (account_id, DOMAIN_ENABLED),
        )
        if addresses.same_or_subdomain(host, name)
    ]
    return max(found)[1] if found else None


def ask(tx: db.Transaction, *, account_id: int, list_id: int, subscriber_ids: Sequence[int], live: bool = True) -> None:
    """Part of the transaction that makes them pending: from its commit on they get a mail, soon but not too often.

    Not `live`: a test key asks, so the mail is a test and never leaves.
    """
    if not subscriber_ids:
        return
    now = clock.now_ms()
    conflict = "ON CONFLICT (subscriber_id) DO UPDATE" if tx.dialect == "sqlite" else "ON DUPLICATE KEY UPDATE"
    conflict += f"{' SET' if tx.dialect == 'sqlite' else ''} due_ms = {_again(now)}, live = {int(live)}"
    for start in range(0, len(subscriber_ids), 200):
        some = subscriber_ids[start : start + 200]
        tx.execute(
            "INSERT INTO confirmation (subscriber_id, account_id, list_id, due_ms, sent, cause, live)"
            f" VALUES {','.join(['(?,?,?,?,0,?,?)'] * len(some))} {conflict}",
            [value for one in some for value in (one, account_id, list_id, now, "", live)],
        )
    tx.after_commit(lambda: jobs.ring(jobs.CONFIRM), key=jobs.CONFIRM)


def _again(now: int) -> str:
    """When the next mail goes, as SQL: whoever was asked before (and unsubscribed since) waits for their turn."""
    return (
        f"CASE WHEN sent_ms IS NULL OR sent_ms > {now} OR sent_ms + {RESEND_AFTER_MS} < {now} THEN {now}"
        f" ELSE sent_ms + {RESEND_AFTER_MS} END"
    )


def ask_for_real(tx: db.Transaction, *, subscriber_ids: Sequence[int]) -> None:
    """Those of these pending ones whom only a test key has asked get a mail that leaves."""
    asked, again = 0, _again(clock.now_ms())
    for start in range(0, len(subscriber_ids), 200):
        some = subscriber_ids[start : start + 200]
        asked += tx.execute(
            f"UPDATE confirmation SET due_ms = {again}, live = 1 WHERE live = 0"
            f" AND subscriber_id IN ({','.join('?' * len(some))})",
            some,
        ).rowcount
    if asked:
        tx.after_commit(lambda: jobs.ring(jobs.CONFIRM), key=jobs.CONFIRM)


def is_live(tx: db.Transaction, *, subscriber_id: int) -> bool:
    """Whether the last question was no test."""
    return (0,) not in tx.rows("SELECT live FROM confirmation WHERE subscriber_id = ?", (subscriber_id,))


def forget(tx: db.Transaction, *, subscriber_id: int) -> None:
    """No mail that waits goes; how many went is kept, so that the next question does not come too soon."""
    tx.execute("UPDATE confirmation SET due_ms = NULL, cause = '' WHERE subscriber_id = ?", (subscriber_id,))


def resend(*, caller: Caller, list_id: int, subscriber_id: int) -> int:
    """Ask once more; returns when the mail goes, in milliseconds. With a test key it is a test, and never leaves.

    Raises `NotPending`, `NotAllowed` for a test key where it was no test that asked, and `RateLimited` for what
    comes too soon after the last mail or too often on one day.
    """

    def work(tx: db.Transaction) -> int:
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        found = tx.rows(
            "SELECT c.due_ms, c.sent, c.sent_ms, c.live FROM confirmation c JOIN subscriber s ON s.id = c.subscriber_id"
            f" WHERE c.subscriber_id = ? AND s.list_id = ? AND c.account_id = ? AND s.status = ?{lock}",
            (subscriber_id, list_id, caller.account_id, int(SubscriberStatus.PENDING)),
        )
        if not found:
            raise errors.NotPending()
        due_ms, sent, sent_ms, was_live = found[0]
        now = clock.now_ms()
        caller.must_reach(live=bool(was_live))
        if due_ms is not None:
            tx.execute("UPDATE confirmation SET live = ? WHERE subscriber_id = ?", (caller.live, subscriber_id))
            return int(due_ms)
        young = sent_ms is not None and now - sent_ms >= 0
        if young and now - sent_ms < RESEND_AFTER_MS:
            raise errors.RateLimited(
                "The last mail went a moment ago.", retry_after=(RESEND_AFTER_MS - now + sent_ms) // 1000 + 1
            )
        if young and now - sent_ms < clock.DAY_MS and sent % MAILS_A_DAY == 0:
            raise errors.RateLimited(
                f"At most {MAILS_A_DAY} mails ask one subscriber on a day.",
                retry_after=(clock.DAY_MS - now + sent_ms) // 1000 + 1,
            )
        tx.execute(
            "UPDATE confirmation SET due_ms = ?, live = ? WHERE subscriber_id = ?", (now, caller.live, subscriber_id)
        )
        tx.after_commit(lambda: jobs.ring(jobs.CONFIRM), key=jobs.CONFIRM)
        return now

    return db.in_transaction(work)


def drain(seconds: float) -> int:
    """Hand the mails that are due to the engine, for up to `seconds`; returns how many went.

    Safe to run anywhere, at any time, twice at once.
    """
    end = time.monotonic() + seconds
    total = 0
    while time.monotonic() < end:
        due = db.rows(
            f"SELECT subscriber_id, due_ms FROM confirmation WHERE due_ms <= ? ORDER BY due_ms LIMIT {_BATCH}",
            (clock.now_ms(),),
        )
        for subscriber_id, due_ms in due:
            total += _send(subscriber_id, due_ms)
            if time.monotonic() > end:
                break
        if len(due) < _BATCH:
            break
    return total


def _send(subscriber_id: int, due_ms: int) -> bool:
    lease = clock.now_ms() + _LEASE_MS
    mine: int = db.in_transaction(
        lambda tx: (
            tx.execute(
                "UPDATE confirmation SET due_ms = ? WHERE subscriber_id = ? AND due_ms = ?",
                (lease, subscriber_id, due_ms),
            ).rowcount
        )
    )
    if not mine:
        return False
    found = db.rows(
        "SELECT s.email, s.address, s.fields, l.id, l.name, l.options, c.account_id, c.sent, c.live"
        " FROM confirmation c"
        " JOIN subscriber s ON s.id = c.subscriber_id JOIN mail_list l ON l.id = s.list_id"
        " WHERE c.subscriber_id = ? AND s.status = ? AND l.deleted_ms IS NULL",
        (subscriber_id, int(SubscriberStatus.PENDING)),
    )
    if not found:
        _settle(subscriber_id, lease, None)
        return False
    email, address, fields, list_id, name, options, account_id, sent, live = found[0]
    # A test that is overtaken by the question in earnest is another mail.
    key = f"{subscriber_id}.{sent + 1}{'' if live else '.test'}"
    try:
        _accept(
            replace(identity.for_account(account_id), live=bool(live)), orjson.loads(options or "{}"),
            Asked(subscriber_id, list_id, address, 0), email,
            {**orjson.loads(fields), "list": name, "email": email}, key,
        )  # fmt: skip
    except (errors.SuppressedRecipient, errors.InvalidAddress) as refusal:
        _settle(subscriber_id, lease, None, cause=refusal.message)
        return False
    except errors.GatewayError as refusal:  # a quota, a domain that is disabled: it may pass
        _log.warning("confirmation_postponed", extra={"list_id": list_id, "cause": refusal.message})
        _settle(subscriber_id, lease, clock.now_ms() + _AGAIN_MS, cause=refusal.message)
        return False
    _settle(subscriber_id, lease, None, sent=True)
    return True


def _accept(
    caller: Caller, options: Mapping[str, Any], asked: Asked, email: str, variables: dict[str, Any], key: str
) -> None:
    sender = addresses.parse_mailbox(str(options.get(FROM, "")))
    domain_id = _domain(caller.account_id, sender.email)
    if domain_id is None:
        raise errors.DomainNotActive()
    until_s = clock.now_ms() // 1000 + int(options.get(HOURS, HOURS_DEFAULT)) * 3600
    variables["confirm_url"] = url(senders.sender(domain_id), replace(asked, until_s=until_s))
    draft = Draft(
        sender=Mailbox(sender.email, sender.name), subject=_SUBJECT, html=_HTML, text=_TEXT,
        to=[Mailbox(email)], tags=["confirmation"], track_opens=False, track_links=False,
        stream=Stream.TRANSACTIONAL, variables=variables, idempotency_key=key, idempotency_scope="confirmation",
        fingerprint=hashlib.sha256(f"{asked.list_id}:{key}".encode()).hexdigest(),
    )  # fmt: skip
    caller = replace(caller, domain_id=domain_id)
    if TEMPLATE in options:
        try:
            messages.accept(
                caller, replace(draft, subject="", html=None, text=None, template_id=int(options[TEMPLATE]))
            )
            return
        except errors.TemplateNotFound:  # it was deleted since: whoever asked shall be answered all the same
            _log.warning("confirmation_template_gone", extra={"list_id": asked.list_id})
    messages.accept(caller, draft)


def _settle(subscriber_id: int, lease: int, due_ms: int | None, *, sent: bool = False, cause: str = "") -> None:
    counted = ", sent = sent + 1, sent_ms = ?" if sent else ""
    params = (due_ms, cause[:255], *((clock.now_ms(),) if sent else ()), subscriber_id, lease)
    db.in_transaction(
        lambda tx: tx.execute(
            f"UPDATE confirmation SET due_ms = ?, cause = ?{counted} WHERE subscriber_id = ? AND due_ms = ?", params
        )
    )


def url(sender: senders.Sender | None, asked: Asked) -> str:
    """The link in the mail; it holds for that address on that list, until its time."""
    said = orjson.dumps([asked.list_id, asked.address, asked.until_s])
    token = link_tokens.encode(Kind.CONFIRM, asked.subscriber_id, said)
    return f"{tracking_links.base_url(sender)}{PATH}{token}"


def read(token: str) -> Asked | None:
    """None for a token that we did not make."""
    found = link_tokens.decode(Kind.CONFIRM, token)
    return None if found is None else Asked(found.delivery_id, *orjson.loads(found.payload))


def state(asked: Asked) -> State:
    """How things stand for that link."""
    rows = db.rows(
        "SELECT l.name, s.status FROM subscriber s JOIN mail_list l ON l.id = s.list_id"
        " WHERE s.id = ? AND s.list_id = ? AND s.address = ? AND l.deleted_ms IS NULL",
        (asked.subscriber_id, asked.list_id, asked.address),
    )
    return State(rows[0][0], SubscriberStatus(rows[0][1])) if rows else State("", None)
