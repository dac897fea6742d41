"""The suppression list as its owner sees it: read, added to by hand, taken from, and undone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import idna

from gateway import clock, errors
from gateway.services import audit, suppression_scope, suppression_undo, suppressions
from gateway.services.identity import Caller
from gateway.services.suppressions import Entry
from models import database as db

MOST_LISTED = 100
MOST_AT_ONCE = 1_000
MANUAL_RULE, IMPORT_RULE = "manual", "import"
ALL_AUTOMATIC = "automatic"
"""Stands for all rules that act by themselves."""

_UNDOABLE = (*suppression_undo.AUTOMATIC, MANUAL_RULE, IMPORT_RULE)
_RULE = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_LOCAL = re.compile(r"[^\s\x00-\x1f\x7f@\"<>(),;:\\\[\]]{1,64}\Z|\"[^\r\n\x00\"]{1,62}\"\Z")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?)*\Z")
_COLUMNS = (
    "s.id, s.address, s.domain_id, COALESCE(d.name, ''), s.reason, s.rule, s.detail, s.mx, m.uuid, s.created_ms,"
    " s.expires_ms"
)
_JOINS = (
    " LEFT JOIN sender_domain d ON d.id = s.domain_id AND d.account_id = s.account_id"
    " LEFT JOIN message m ON m.id = s.message_id AND m.account_id = s.account_id"
)


@dataclass(frozen=True, slots=True)
class Listed:
    """One row; `domain_id` 0 holds for the whole account, below 0 for the mail of one list.

    `message` is the one whose fate led here.
    """

    id: int
    address: str
    domain_id: int
    domain: str
    reason: str
    rule: str
    detail: str
    mx: str
    message: UUID | None
    created_ms: int
    expires_ms: int | None

    @property
    def list_id(self) -> int | None:
        """The number of the list."""
        return -self.domain_id if self.domain_id < 0 else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to list; empty fields do not narrow it. `rule` is one or the beginning of some."""

    domain_id: int | None = None
    address: str = ""
    reason: str = ""
    rule: str = ""
    from_ms: int | None = None
    to_ms: int | None = None


def list_(
    *, caller: Caller, wanted: Wanted = Wanted(), start: int = 0, count: int = MOST_LISTED
) -> tuple[list[Listed], int]:
    """Some of what holds now, the latest first, and how many there are; raises `NotFound`, `Invalid`."""
    where, params = suppression_scope.read(caller, wanted.domain_id)
    where = where.format("s") + " AND (s.expires_ms IS NULL OR s.expires_ms > ?)"
    params.append(clock.now_ms())
    if wanted.reason and wanted.reason not in suppressions.REASONS:
        raise errors.UnknownReason(f"The reason should be one of {', '.join(suppressions.REASONS)}.", field="Reason")
    for condition, value in (
        ("s.address = ?", suppressions.normalise(wanted.address) or None),
        ("s.reason = ?", wanted.reason or None),
        ("s.created_ms >= ?", wanted.from_ms),
        ("s.created_ms <= ?", wanted.to_ms),
    ):
        if value is not None:
            where += f" AND {condition}"
            params.append(value)
    if wanted.rule:
        where += " AND SUBSTR(s.rule, 1, ?) = ?"
        params += [len(wanted.rule), wanted.rule]
    rows = db.rows(  # the page is found first, then what else its rows show
        f"SELECT {_COLUMNS} FROM suppression s{_JOINS} WHERE s.id IN (SELECT id FROM (SELECT s.id FROM suppression s"
        f" WHERE {where} ORDER BY s.id DESC LIMIT ? OFFSET ?) page) ORDER BY s.id DESC",
        [*params, min(count, MOST_LISTED), start],
    )
    total = db.rows(f"SELECT COUNT(*) FROM suppression s WHERE {where}", params)[0][0]
    return [_listed(row) for row in rows], int(total)


def walk(*, caller: Caller, domain_id: int | None, after_id: int, count: int) -> list[Listed]:
    """The rows behind `after_id`, the oldest first, those that ran out too; raises `NotFound`."""
    where, params = suppression_scope.read(caller, domain_id)
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM suppression s{_JOINS} WHERE {where.format('s')} AND s.id > ? ORDER BY s.id LIMIT ?",
        [*params, after_id, count],
    )
    return [_listed(row) for row in rows]


def add(
    *,
    caller: Caller,
    addresses: Sequence[str],
    domain_id: int | None = None,
    reason: str = suppressions.MANUAL,
    detail: str = "",
    expires_ms: int | None = None,
) -> tuple[int, int, list[str]]:
    """Put up to `MOST_AT_ONCE` addresses on the list in one transaction: how many are new, how many known, which bad.

    Without a domain it holds for the whole account. Raises `NotFound`, `Invalid` (the reason, a past expiry),
    `TooManyAtOnce`, and `InvalidAddress` when none of them is an address.
    """
    if not 0 < len(addresses) <= MOST_AT_ONCE:
        raise errors.TooManyAtOnce(f"1 to {MOST_AT_ONCE} addresses are added at once.", field="EmailAddress")
    if reason not in suppressions.REASONS:
        raise errors.UnknownReason(f"The reason should be one of {', '.join(suppressions.REASONS)}.", field="Reason")
    if expires_ms is not None and expires_ms <= clock.now_ms():
        raise errors.Invalid("The expiry should lie ahead.", field="ExpiresAt")
    scope = suppression_scope.written(caller, domain_id)
    entries: dict[str, Entry] = {}
    bad: list[str] = []
    for text in addresses:
        address = checked(text)
        if address:
            entries[address] = Entry(address, reason, scope, detail=detail, expires_ms=expires_ms, rule=MANUAL_RULE)
        else:
            bad.append(text)
    if not entries:
        raise errors.InvalidAddress(field="EmailAddress")
    new = list(entries.values())

    def work(tx: db.Transaction) -> int:
        added = sum(
            suppressions.put(tx, account_id=caller.account_id, entries=new[start : start + suppressions.BATCH])
            for start in range(0, len(new), suppressions.BATCH)
        )
        told = {
            "reason": reason,
            "domain_id": scope or None,
            "expires_ms": expires_ms,
            "entries": len(new),
            "new": added,
        }
        what = audit.person(caller.account_id, new[0].address) if len(new) == 1 else "suppressions"
        audit.record(tx, caller=caller, action="suppression.create", what=what, after=told)
        return added

    added = db.in_transaction(work)
    return added, len(addresses) - len(bad) - added, bad


def delete(*, caller: Caller, address: str, domain_id: int | None = None, reason: str | None = None) -> int:
    """Take an address off the list of a domain, or without one off the account's; how many rows went.

    Raises `NotFound` (the domain) and `EntryNotFound`.
    """
    scope = suppression_scope.written(caller, domain_id)

    def work(tx: db.Transaction) -> int:
        gone = suppressions.remove(tx, account_id=caller.account_id, domain_id=scope, address=address, reason=reason)
        if gone:
            told = {"domain_id": scope or None, "reason": reason, "entries": gone}
            what = audit.person(caller.account_id, address)
            audit.record(tx, caller=caller, action="suppression.delete", what=what, before=told)
        return gone

    gone = db.in_transaction(work)
    if not gone:
        raise errors.EntryNotFound(what="address")
    return gone


def undo(
    *,
    caller: Caller,
    rule: str,
    from_ms: int | None = None,
    to_ms: int | None = None,
    domain_id: int | None = None,
    mx: str = "",
    dry_run: bool = False,
) -> int:
    """Take back what a rule did between two times; how many rows. `mx` narrows it to refusals by hosts under a name.

    Raises `NotFound`, and `Invalid` for what is no rule or the wish of a person (unsubscribing).
    """
    if rule == ALL_AUTOMATIC:
        prefixes: tuple[str, ...] = suppression_undo.AUTOMATIC
    elif rule.partition(":")[0] in _UNDOABLE and _RULE.match(rule):
        prefixes = (rule,)
    else:
        words = ", ".join((ALL_AUTOMATIC, *_UNDOABLE))
        raise errors.Invalid(f"The rule should be one of {words}, or one such as bounce:5.1.1.", field="Rule")
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise errors.Invalid("From should not be later than To.", field="From")
    scope = suppression_scope.written(caller, domain_id)
    return suppression_undo.undo(
        rule_prefix=prefixes,
        from_ms=from_ms or 0,
        to_ms=to_ms,
        account_id=caller.account_id,
        domain_id=scope or None,
        mx_suffix=mx,
        by=caller.email,
        dry_run=dry_run,
    )


def undos(*, caller: Caller, count: int = MOST_LISTED) -> list[suppression_undo.Undo]:
    """What was undone for the account, the latest first."""
    return suppression_undo.undos(account_id=caller.account_id, count=count)


def checked(address: str) -> str:
    """The spelling that the list keeps, '' for what is no address.

    Wider than what may be written to: lists of other systems have addresses that we would never accept.
    """
    local, at, domain = address.strip().rpartition("@")
    if not at or not _LOCAL.match(local) or not _is_text(local):
        return ""
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except UnicodeError:
            return ""
    domain = domain.lower().removesuffix(".")
    return suppressions.normalise(f"{local}@{domain}") if _DOMAIN.match(domain) else ""


def _is_text(text: str) -> bool:
    """Whether it can be stored: half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_rule(text: str) -> bool:
    """Whether that can be a rule's name."""
    return bool(_RULE.match(text))


def _listed(row: tuple[Any, ...]) -> Listed:
    values = list(row)
    values[8] = UUID(bytes=bytes(row[8])) if row[8] else None
    return Listed(*values)
