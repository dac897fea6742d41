"""Mailboxes of a sender domain: made, listed, found by whoever sends from them or to them, and taken away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway import clock, config, errors, ids
from gateway.mail import address as addresses
from gateway.services import audit, domains, mailbox_mail, senders
from gateway.services.identity import Caller
from models import database as db

NAME_LENGTH = 255
PREFIX = "mbx"
"""Of the public ids of mailboxes."""
_TRUST_MS = 1_000


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox; `messages` and `bytes` are what it holds."""

    id: int
    uuid: UUID
    account_id: int
    domain_id: int
    local: str
    address: str
    display_name: str
    messages: int
    bytes: int
    created_ms: int

    @property
    def public_id(self) -> str:
        return ids.public_id(PREFIX, self.uuid)


_SELECT = (
    "SELECT b.id, b.uuid, b.account_id, b.domain_id, b.local, d.name, b.display_name, b.messages, b.bytes, b.created_ms"
    " FROM mailbox b JOIN sender_domain d ON d.id = b.domain_id AND d.account_id = b.account_id"
)


def add(*, caller: Caller, address: str, display_name: str = "", domain_id: int | None = None) -> Mailbox:
    """Make a mailbox from its local part or its full address.

    Raises `NotFound` (the domain), `Invalid`, `MailboxExists`, `MailboxLimitReached`.
    """
    domain = _domain(caller, domain_id)
    local = _local(address, domain.name)
    name = " ".join(display_name.split())
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise errors.Invalid(f"displayName has at most {NAME_LENGTH} printable characters.", field="displayName")
    most = config.settings().mailboxes

    def work(tx: db.Transaction) -> None:
        # One at a time for a domain: what is looked for here is written below.
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        tx.rows(f"SELECT id FROM sender_domain WHERE id = ?{lock}", (domain.id,))
        if tx.rows("SELECT 1 FROM mailbox WHERE domain_id = ? AND local = ?", (domain.id, local)):
            raise errors.MailboxExists(f"There is a mailbox {local}@{domain.name} already.")
        if (
            tx.rows("SELECT COUNT(*) FROM mailbox WHERE domain_id = ? AND deleted_ms IS NULL", (domain.id,))[0][0]
            >= most
        ):
            raise errors.MailboxLimitReached(f"A domain has at most {most} mailboxes.")
        tx.execute(
            "INSERT INTO mailbox (uuid, account_id, domain_id, local, display_name, messages, bytes, created_ms)"
            " VALUES (?, ?, ?, ?, ?, 0, 0, ?)",
            (ids.new_uuid().bytes, caller.account_id, domain.id, local, name, clock.now_ms()),
        )
        what = f"mailbox:{local}@{domain.name}"
        audit.record(tx, caller=caller, action="mailbox.create", what=what, after={"display_name": name})

    db.in_transaction(work)
    return find(caller=caller, address=local, domain_id=domain.id)


def list_(*, caller: Caller, domain_id: int | None = None) -> list[Mailbox]:
    """Those of the key's domain, the oldest first; raises `NotFound`."""
    domain = _domain(caller, domain_id)
    rows = db.rows(
        f"{_SELECT} WHERE b.domain_id = ? AND b.account_id = ? AND b.deleted_ms IS NULL ORDER BY b.id",
        (domain.id, caller.account_id),
    )
    return [_mailbox(row) for row in rows]


def find(*, caller: Caller, address: str, domain_id: int | None = None) -> Mailbox:
    """By local part or full address; raises `NotFound` (the domain) and `NoSuchMailbox`."""
    domain = _domain(caller, domain_id)
    try:
        local = _local(address, domain.name)
    except errors.Invalid:
        raise errors.NoSuchMailbox(what="mailbox") from None
    rows = db.rows(
        f"{_SELECT} WHERE b.domain_id = ? AND b.account_id = ? AND b.local = ?", (domain.id, caller.account_id, local)
    )
    if not rows:
        raise errors.NoSuchMailbox(what="mailbox")
    return _mailbox(rows[0])


def delete(*, caller: Caller, address: str, domain_id: int | None = None) -> Mailbox:
    """Take a mailbox away with all its mail and its places in sender groups; raises as `find` does.

    From the commit on nothing of its mail can be read. What a killed process leaves of it, housekeeping deletes.
    """
    mailbox = find(caller=caller, address=address, domain_id=domain_id)

    def work(tx: db.Transaction) -> None:
        gone = tx.execute(
            "UPDATE mailbox SET local = ?, deleted_ms = ? WHERE id = ? AND deleted_ms IS NULL",
            (f"@{mailbox.id}", clock.now_ms(), mailbox.id),
        )
        if not gone.rowcount:
            raise errors.NoSuchMailbox(what="mailbox")
        tx.execute("DELETE FROM sender_group_mailbox WHERE mailbox_id = ?", (mailbox.id,))
        ended = (
            "UPDATE warmup SET done_ms = ?, reason = 'the mailbox was deleted' WHERE mailbox_id = ? AND done_ms IS NULL"
        )
        tx.execute(ended, (clock.now_ms(), mailbox.id))
        before = {"display_name": mailbox.display_name}
        audit.record(tx, caller=caller, action="mailbox.delete", what=f"mailbox:{mailbox.address}", before=before)

    db.in_transaction(work)
    forget()
    mailbox_mail.empty(mailbox.id)
    return mailbox


def require(*, caller: Caller, address: str) -> Mailbox:
    """The mailbox of the key's domain that a send comes from; raises `DomainGone`, `MailboxNeeded`.

    At most a second old: a send costs no read of its own. One that is missing is looked for each time.
    """
    if caller.domain_id is None:
        raise errors.DomainGone()
    key = (caller.account_id, caller.domain_id, address.strip().lower())
    found = _required.get(key) or _load(key)
    if found is None:
        raise errors.MailboxNeeded(f"{address[:254]} is no mailbox of the key's domain.", field="from")
    return found


def receiving(address: str) -> Mailbox | None:
    """The mailbox that mail to an envelope recipient goes to, None where its domain has nothing to do with mailboxes.

    Raises `NoSuchMailbox` (the domain has others), `MailboxFull`, and `MailboxAsleep` while the domain is not enabled.
    """
    local, at, name = address.strip("<>").lower().rpartition("@")
    if not at or not local:
        return None
    owners = db.rows(
        "SELECT id, enabled_name FROM sender_domain WHERE enabled_name = ? OR (name = ? AND deleted_ms IS NULL)",
        (name, name),
    )
    enabled = [id_ for id_, own in owners if own == name]
    if not enabled:
        if owners and _any([id_ for id_, _ in owners]):
            raise errors.MailboxAsleep
        return None
    rows = db.rows(f"{_SELECT} WHERE b.domain_id = ? AND b.local = ?", (enabled[0], local))
    if not rows:
        if _any(enabled):
            raise errors.NoSuchMailbox
        return None
    mailbox = _mailbox(rows[0])
    settings = config.settings()
    if mailbox.messages >= settings.mailbox_messages or mailbox.bytes >= settings.mailbox_bytes:
        raise errors.MailboxFull
    return mailbox


def forget() -> None:
    """Drop what this process remembers of mailboxes."""
    _required.forget()


def _any(domain_ids: list[int]) -> bool:
    marks = ",".join("?" * len(domain_ids))
    return bool(
        db.rows(f"SELECT 1 FROM mailbox WHERE domain_id IN ({marks}) AND deleted_ms IS NULL LIMIT 1", domain_ids)
    )


def _load(key: tuple[int, int, str]) -> Mailbox | None:
    account_id, domain_id, address = key
    local, _, name = address.rpartition("@")
    rows = db.rows(
        f"{_SELECT} WHERE b.domain_id = ? AND b.account_id = ? AND b.local = ? AND d.name = ?",
        (domain_id, account_id, local, name),
    )
    return _mailbox(rows[0]) if rows else None


_required: senders.Recent[tuple[int, int, str], Mailbox | None] = senders.Recent(_load, trust_ms=_TRUST_MS)


def _domain(caller: Caller, domain_id: int | None) -> Any:
    wanted = caller.domain_id if domain_id is None else domain_id
    if wanted is None:
        raise errors.NotFound("The key has no domain.", what="domain")
    return domains.find(caller=caller, domain_id=wanted)


def _local(text: str, domain: str) -> str:
    """The lower-case local part of `hello` or `hello@domain`; raises `Invalid`."""
    local, at, name = text.strip().lower().rpartition("@")
    if not at:
        local, name = name, domain
    try:
        local, _, name = addresses.check(f"{local}@{name}").rpartition("@")
    except errors.Invalid as error:
        raise errors.Invalid(f"address should be the part before the @: {error.message}", field="address") from None
    if name != domain:
        raise errors.Invalid(f"address should be a local part, or end in @{domain}.", field="address")
    return local.lower()


def _mailbox(row: tuple[Any, ...]) -> Mailbox:
    id_, uuid, account_id, domain_id, local, name, display_name, messages, size, created_ms = row
    return Mailbox(
        id_, UUID(bytes=bytes(uuid)), account_id, domain_id, local, f"{local}@{name}", display_name, messages, size,
        created_ms,
    )  # fmt: skip
