"""Whole suppression lists: taken in from a file and given out as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from gateway import clock, errors, ids
from gateway.services import suppression_csv, suppression_list, suppression_scope, suppressions
from gateway.services.identity import Caller
from gateway.services.suppression_csv import Line, Sheet
from gateway.services.suppressions import Entry
from models import database as db
from models.vocabulary import ListKind

EXPORTED_MOST = 10_000
"""Rows of one piece."""

_CURSOR_MOST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that was not taken, and why."""

    line: int
    address: str
    error: str


@dataclass(slots=True)
class Imported:
    """`known` lines were on the list, or in the file, before; `rule` finds again what this import added."""

    rule: str
    added: int = 0
    known: int = 0
    invalid: list[Bad] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)  # headings that mean nothing here


@dataclass(slots=True)
class _Defaults:
    """What holds where a line says nothing."""

    caller: Caller
    domain_id: int
    reason: str
    rule: str
    expires_ms: int | None
    columns: frozenset[str]
    domains: dict[str, int]
    lists: frozenset[str]
    now_ms: int


def import_(
    *,
    caller: Caller,
    text: str,
    domain_id: int | None = None,
    reason: str = suppressions.MANUAL,
    expires_ms: int | None = None,
) -> Imported:
    """Put every line of a CSV file on the list, 500 in a transaction, and tell of each line that cannot be.

    `domain_id`, `reason` and `expires_ms` hold for lines whose file has no such column. An import that broke off
    is finished by doing it again: what is there is known. Raises `NotFound`, and `Invalid` for a file without
    addresses or an unknown reason; then nothing was stored.
    """
    if reason not in suppressions.REASONS:
        raise errors.UnknownReason(f"The reason should be one of {', '.join(suppressions.REASONS)}.", field="Reason")
    scope = suppression_scope.written(caller, domain_id)
    sheet: Sheet = suppression_csv.read(text)
    now = clock.now_ms()
    done = Imported(rule=f"{suppression_list.IMPORT_RULE}:{ids.new_uuid()}", ignored=sheet.ignored)
    known = _domains(caller), _lists(caller)
    defaults = _Defaults(caller, scope, reason, done.rule, expires_ms, sheet.columns, *known, now)
    batch: list[tuple[Entry, str]] = []
    for line in sheet.lines:
        found = line.error or _entry(line, defaults)
        if isinstance(found, str):
            done.invalid.append(Bad(line.number, line.values.get("emailaddress", "")[:320], found))
            continue
        batch.append((found, line.values.get("messageid", "").strip()))
        if len(batch) == suppressions.BATCH:
            _store(caller, batch, done)
            batch = []
    if batch:
        _store(caller, batch, done)
    return done


def export(
    *, caller: Caller, domain_id: int | None = None, cursor: str = "", count: int = EXPORTED_MOST
) -> tuple[list[suppression_list.Listed], str]:
    """A piece of the list, the oldest first, and the cursor of the next, '' at the end.

    Rows that ran out are in it. Raises `NotFound`, and `Invalid` for a cursor that is none.
    """
    after = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < 20 else 0
    if cursor and not 0 < after <= _CURSOR_MOST:
        raise errors.Invalid("The cursor is not one of an export.", field="Cursor")
    count = min(count, EXPORTED_MOST)
    rows = suppression_list.walk(caller=caller, domain_id=domain_id, after_id=after, count=count + 1)
    more = len(rows) > count
    return rows[:count], str(rows[count - 1].id) if more else ""


def _domains(caller: Caller) -> dict[str, int]:
    """The ids of the caller's domains by name, deleted ones too: their history is the account's."""
    found = {
        name: domain_id
        for domain_id, name in db.rows("SELECT id, name FROM sender_domain WHERE account_id = ?", (caller.account_id,))
    }
    return {name: number for name, number in found.items() if caller.domain_id in (None, number)}


def _lists(caller: Caller) -> frozenset[str]:
    """The numbers of the account's lists; a key of a domain changes nothing for them."""
    if caller.domain_id is not None:
        return frozenset()
    rows = db.rows(
        "SELECT id FROM mail_list WHERE account_id = ? AND kind = ? AND deleted_ms IS NULL",
        (caller.account_id, int(ListKind.LIST)),
    )
    return frozenset(str(list_id) for (list_id,) in rows)


def _entry(line: Line, defaults: _Defaults) -> Entry | str:
    """The entry of a line, or what is wrong with it."""
    values = {name: value.strip() for name, value in line.values.items()}
    address = suppression_list.checked(values.get("emailaddress", ""))
    if not address:
        return "is not an email address"
    domain_id = defaults.domain_id
    if "domain" in defaults.columns:
        name = values.get("domain", "").lower()
        if name not in defaults.domains and (name or defaults.caller.domain_id is not None):
            return f"the account has no sender domain {name[:253]!r}" if name else "should name the key's domain"
        domain_id = defaults.domains[name] if name else suppressions.WHOLE_ACCOUNT
    if values.get("listid"):
        if values.get("domain"):
            return "should name a domain or a list"
        if values["listid"] not in defaults.lists:
            return f"the account has no list {values['listid'][:20]!r}"
        domain_id = suppressions.list_scope(int(values["listid"]))
    reason = values.get("reason", "").lower() or defaults.reason
    if reason not in suppressions.REASONS:
        return f"the reason should be one of {', '.join(suppressions.REASONS)}"
    rule = values.get("rule") or defaults.rule
    if not suppression_list.is_rule(rule):
        return "the rule has 1 to 64 letters, digits and .:_-"
    detail = line.values.get("detail", "")
    mx = values.get("mx", "").lower()
    if len(detail) > suppressions.DETAIL_LENGTH or len(mx) > suppressions.MX_LENGTH:
        return f"the detail has at most {suppressions.DETAIL_LENGTH} characters and the MX {suppressions.MX_LENGTH}"
    try:
        created = suppression_csv.time_ms(values["createdat"]) if values.get("createdat") else defaults.now_ms
        expires = suppression_csv.time_ms(values["expiresat"]) if values.get("expiresat") else None
    except (ValueError, OverflowError):
        return "a time should look like 2026-01-31T12:00:00Z"
    if "expiresat" not in defaults.columns:
        expires = defaults.expires_ms
    return Entry(
        address,
        reason,
        domain_id,
        detail,
        expires_ms=expires,
        rule=rule,
        mx=mx,
        created_ms=min(created, defaults.now_ms),
    )


def _store(caller: Caller, batch: Sequence[tuple[Entry, str]], done: Imported) -> None:
    messages = _messages(caller, [uuid for _, uuid in batch if uuid])
    # What comes twice in a file is one; `put` sees it once.
    entries = {
        entry.key: entry if uuid.lower() not in messages else _from(entry, messages[uuid.lower()])
        for entry, uuid in reversed(batch)
    }
    new = list(reversed(entries.values()))
    added: int = db.in_transaction(lambda tx: suppressions.put(tx, account_id=caller.account_id, entries=new))
    done.added += added
    done.known += len(batch) - added


def _from(entry: Entry, message_id: int) -> Entry:
    return Entry(
        entry.address,
        entry.reason,
        entry.domain_id,
        entry.detail,
        message_id,
        entry.expires_ms,
        entry.rule,
        entry.mx,
        entry.created_ms,
    )


def _messages(caller: Caller, texts: Sequence[str]) -> dict[str, int]:
    """The row ids of the account's messages by UUID; what is unknown here, or no UUID, is left out."""
    wanted: list[bytes] = []
    for text in texts:
        try:
            wanted.append(UUID(text).bytes)
        except ValueError:
            continue
    if not wanted:
        return {}
    found = db.rows(
        f"SELECT id, uuid FROM message WHERE account_id = ? AND uuid IN ({','.join('?' * len(wanted))})",
        (caller.account_id, *wanted),
    )
    return {str(UUID(bytes=bytes(uuid))): message_id for message_id, uuid in found}
