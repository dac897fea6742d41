"""Sender groups: mailboxes that send in turn, and the people whom they write to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway import clock, errors, ids
from gateway.mail import address as addresses
from gateway.services import audit, domains, mailboxes, suppressions
from gateway.services.identity import Caller
from gateway.services.mailboxes import Mailbox
from models import database as db

PREFIX = "grp"
ALL = "all"
"""Stands for every mailbox of the domain."""
MOST = 1_000
"""Groups of a domain."""
EMAILS_MOST = 10_000
"""People of a group."""
_NAME_LENGTH = 255
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Group:
    """One group; `mailboxes` are addresses, and with `everything` those of the domain now."""

    id: int
    uuid: UUID
    domain_id: int
    name: str
    everything: bool
    mailboxes: list[str]
    emails: list[str]
    created_ms: int
    updated_ms: int

    @property
    def public_id(self) -> str:
        return ids.public_id(PREFIX, self.uuid)


@dataclass(frozen=True, slots=True)
class Change:
    """What to change; None leaves it. `emails` is the whole list and makes the other two say nothing."""

    name: str | None = None
    mailboxes: Sequence[str] | None = None
    emails: Sequence[str] | None = None
    add_emails: Sequence[str] | None = None
    remove_emails: Sequence[str] | None = None


def list_(*, caller: Caller) -> list[Group]:
    """Those of the key's domain, the oldest first; raises `NotFound` (the domain)."""
    domain_id = _domain_id(caller)
    rows = db.rows(
        "SELECT id, uuid, domain_id, name, everything, created_ms, updated_ms FROM sender_group"
        " WHERE domain_id = ? AND account_id = ? ORDER BY id",
        (domain_id, caller.account_id),
    )
    return _groups(caller, rows)


def find(*, caller: Caller, group_id: str) -> Group:
    """By public id; raises `NotFound`."""
    domain_id, uuid = _domain_id(caller), ids.uuid_of(PREFIX, group_id)
    rows = (
        db.rows(
            "SELECT id, uuid, domain_id, name, everything, created_ms, updated_ms FROM sender_group"
            " WHERE uuid = ? AND domain_id = ? AND account_id = ?",
            (uuid.bytes, domain_id, caller.account_id),
        )
        if uuid is not None
        else []
    )
    if not rows:
        raise errors.NotFound("There is no such sender group.", what="group")
    return _groups(caller, rows)[0]


def add(*, caller: Caller, name: str, mailboxes_: Sequence[str] = (ALL,), emails: Sequence[str] = ()) -> Group:
    """Make a group. Raises `NotFound` (the domain), `Invalid`, `MailboxNeeded`, `NotAllowed` (too many groups)."""
    domain_id = _domain_id(caller)
    name = _name(name)
    chosen = _chosen(caller, mailboxes_)
    people = _people(emails, "emails")
    _count(len(people))
    uuid, now = ids.new_uuid(), clock.now_ms()

    def work(tx: db.Transaction) -> None:
        if tx.rows("SELECT COUNT(*) FROM sender_group WHERE domain_id = ?", (domain_id,))[0][0] >= MOST:
            raise errors.NotAllowed(f"A domain has at most {MOST} sender groups.")
        made = tx.execute(
            "INSERT INTO sender_group (uuid, account_id, domain_id, name, everything, turn, created_ms, updated_ms)"
            " VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
            (uuid.bytes, caller.account_id, domain_id, name, chosen is None, now, now),
        )
        _put_mailboxes(tx, made.lastrowid, chosen)
        _put_people(tx, made.lastrowid, people)
        after = {"name": name, "mailboxes": ALL if chosen is None else len(chosen), "people": len(people)}
        audit.record(tx, caller=caller, action="sender_group.create", what=f"sender_group:{uuid}", after=after)

    db.in_transaction(work)
    return find(caller=caller, group_id=str(uuid))


def update(*, caller: Caller, group_id: str, change: Change) -> Group:
    """Change what is named, in one transaction; raises as `find` and `add` do."""
    group = find(caller=caller, group_id=group_id)
    name = None if change.name is None else _name(change.name)
    chosen = None if change.mailboxes is None else _chosen(caller, change.mailboxes)
    whole = None if change.emails is None else _people(change.emails, "emails")
    more = _people(change.add_emails or (), "addEmails")
    fewer = [suppressions.normalise(text) for text in change.remove_emails or ()]

    def work(tx: db.Transaction) -> None:
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        if not tx.rows(f"SELECT 1 FROM sender_group WHERE id = ?{lock}", (group.id,)):
            raise errors.NotFound("There is no such sender group.", what="group")
        if name is not None:
            tx.execute("UPDATE sender_group SET name = ? WHERE id = ?", (name, group.id))
        if change.mailboxes is not None:
            tx.execute("UPDATE sender_group SET everything = ? WHERE id = ?", (chosen is None, group.id))
            tx.execute("DELETE FROM sender_group_mailbox WHERE group_id = ?", (group.id,))
            _put_mailboxes(tx, group.id, chosen)
        if whole is not None:
            tx.execute("DELETE FROM sender_group_email WHERE group_id = ?", (group.id,))
            _put_people(tx, group.id, whole)
        else:
            # What is both added and removed is not there afterwards.
            _put_people(tx, group.id, more)
            tx.executemany(
                "DELETE FROM sender_group_email WHERE group_id = ? AND address = ?", [(group.id, one) for one in fewer]
            )
        _count(tx.rows("SELECT COUNT(*) FROM sender_group_email WHERE group_id = ?", (group.id,))[0][0])
        tx.execute("UPDATE sender_group SET updated_ms = ? WHERE id = ?", (clock.now_ms(), group.id))
        after = {"name": name, "mailboxes": change.mailboxes, "people": whole and len(whole), "added": len(more)}
        told = {side: value for side, value in after.items() if value} | {"removed": len(fewer)}
        audit.record(tx, caller=caller, action="sender_group.update", what=f"sender_group:{group_id}", after=told)

    db.in_transaction(work)
    return find(caller=caller, group_id=group_id)


def delete(*, caller: Caller, group_id: str) -> Group:
    """Take a group away; its mailboxes stay. Raises `NotFound`."""
    group = find(caller=caller, group_id=group_id)

    def work(tx: db.Transaction) -> None:
        if not tx.execute("DELETE FROM sender_group WHERE id = ?", (group.id,)).rowcount:
            raise errors.NotFound("There is no such sender group.", what="group")
        tx.execute("DELETE FROM sender_group_mailbox WHERE group_id = ?", (group.id,))
        tx.execute("DELETE FROM sender_group_email WHERE group_id = ?", (group.id,))
        before = {"name": group.name}
        audit.record(tx, caller=caller, action="sender_group.delete", what=f"sender_group:{group_id}", before=before)

    db.in_transaction(work)
    return group


def turns(*, caller: Caller, group: Group, count: int) -> list[Mailbox]:
    """The mailboxes of the next `count` messages through the group, in turn; raises `MailboxNeeded` where it has none.

    A turn is taken for good, also where the message is refused then: what is spread is the work, not the luck.
    """
    own = {one.address: one for one in mailboxes.list_(caller=caller)}
    members = [own[name] for name in group.mailboxes if name in own]
    if not members:
        raise errors.MailboxNeeded("The sender group has no mailbox.", field="from")

    def work(tx: db.Transaction) -> int:
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        rows = tx.rows(f"SELECT turn FROM sender_group WHERE id = ?{lock}", (group.id,))
        tx.execute("UPDATE sender_group SET turn = turn + ? WHERE id = ?", (count, group.id))
        return int(rows[0][0]) if rows else 0

    first = int(db.in_transaction(work))
    return [members[(first + at) % len(members)] for at in range(count)]


def _domain_id(caller: Caller) -> int:
    if caller.domain_id is None:
        raise errors.NotFound("The key has no domain.", what="domain")
    return int(domains.find(caller=caller, domain_id=caller.domain_id).id)


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name or len(name) > _NAME_LENGTH:
        raise errors.Invalid(f"name has 1 to {_NAME_LENGTH} characters.", field="name")
    return name


def _chosen(caller: Caller, names: Sequence[str]) -> list[int] | None:
    """The ids of the named mailboxes, None for all of the domain; raises `MailboxNeeded`."""
    wanted = [name.strip().lower() for name in names if name.strip()]
    if not wanted or ALL in wanted:
        return None
    own: dict[str, int] = {}
    for one in mailboxes.list_(caller=caller):
        own[one.address] = own[one.local] = one.id
    missing = [name for name in wanted if name not in own]
    if missing:
        raise errors.MailboxNeeded(f"{missing[0][:254]} is no mailbox of the key's domain.", field="mailboxes")
    return sorted({own[name] for name in wanted})


def _people(emails: Sequence[str], field: str) -> list[tuple[str, str]]:
    """Each address once, as it is written and as it is compared; raises `Invalid`."""
    found: dict[str, str] = {}
    for text in emails:
        try:
            email = addresses.check(text)
        except errors.Invalid as error:
            raise errors.Invalid(f"{text[:254]}: {error.message}", field=field) from None
        found.setdefault(suppressions.normalise(email), email)
    return [(email, address) for address, email in found.items()]


def _count(people: int) -> None:
    if people > EMAILS_MOST:
        raise errors.Invalid(f"A sender group has at most {EMAILS_MOST} emails.", field="emails")


def _put_mailboxes(tx: db.Transaction, group_id: int, chosen: Sequence[int] | None) -> None:
    tx.executemany(
        "INSERT INTO sender_group_mailbox (group_id, mailbox_id) VALUES (?, ?)",
        [(group_id, mailbox_id) for mailbox_id in chosen or ()],
    )


def _put_people(tx: db.Transaction, group_id: int, people: Sequence[tuple[str, str]]) -> None:
    ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
    for start in range(0, len(people), _CHUNK):
        some = people[start : start + _CHUNK]
        tx.execute(
            f"{ignore} INTO sender_group_email (group_id, email, address) VALUES {','.join(['(?,?,?)'] * len(some))}",
            [value for email, address in some for value in (group_id, email, address)],
        )


def _groups(caller: Caller, rows: Sequence[tuple[Any, ...]]) -> list[Group]:
    if not rows:
        return []
    marks, numbers = ",".join("?" * len(rows)), [row[0] for row in rows]
    own = mailboxes.list_(caller=caller)
    addresses_ = {one.id: one.address for one in own}
    members: dict[int, list[str]] = {}
    for group_id, mailbox_id in db.rows(
        f"SELECT group_id, mailbox_id FROM sender_group_mailbox WHERE group_id IN ({marks}) ORDER BY mailbox_id",
        numbers,
    ):
        if mailbox_id in addresses_:
            members.setdefault(group_id, []).append(addresses_[mailbox_id])
    people: dict[int, list[str]] = {}
    for group_id, email in db.rows(
        f"SELECT group_id, email FROM sender_group_email WHERE group_id IN ({marks}) ORDER BY id", numbers
    ):
        people.setdefault(group_id, []).append(email)
    every = [one.address for one in own]
    return [
        Group(
            id_, UUID(bytes=bytes(uuid)), domain_id, name, bool(everything),
            every if everything else members.get(id_, []), people.get(id_, []), created_ms, updated_ms,
        )
        for id_, uuid, domain_id, name, everything, created_ms, updated_ms in rows
    ]  # fmt: skip
