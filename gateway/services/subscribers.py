"""Who stands on a list: added one by one or by the thousand, changed, unsubscribed and removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors, ids
from gateway.mail import address as addresses
from gateway.services import (
    audit,
    automation_signals,
    confirmations,
    list_counts,
    lists,
    notices,
    segment_conditions,
    suppressions,
)
from gateway.services.identity import Caller
from gateway.services.suppressions import Entry
from models import database as db
from models.vocabulary import NoticeKind, SubscriberStatus

MOST_AT_ONCE = 1_000
MOST_LISTED = 100
LOOKED_AT_MOST = 50_000
"""Rows that one page of a filtered list looks at."""
FIELDS_MOST = 16_384
"""Bytes of one subscriber's fields as JSON."""
FIELD_NAME_LENGTH = 64

UNSUBSCRIBE_RULE = "unsubscribe:list"
"""What puts those who are unsubscribed from a list on its suppression list; only that is lifted with their return."""

_ACTIVE, _UNSUBSCRIBED = SubscriberStatus.ACTIVE, SubscriberStatus.UNSUBSCRIBED
_REMOVED, _PENDING = SubscriberStatus.REMOVED, SubscriberStatus.PENDING
_COLUMNS = "id, list_id, email, fields, status, created_ms, updated_ms, status_ms"
_CHUNK = 200


@dataclass(frozen=True, slots=True)
class Subscriber:
    id: int
    list_id: int
    email: str
    fields: dict[str, Any]
    status: SubscriberStatus
    created_ms: int
    updated_ms: int
    status_ms: int


@dataclass(frozen=True, slots=True)
class New:
    """One to be added, as it was sent. `status` None: what the list gives to whom is new."""

    email: Any
    fields: Any = None
    status: Any = None


class Result(StrEnum):
    ADDED = "added"
    UPDATED = "updated"
    UNCHANGED = "unchanged"  # was on the list just so


@dataclass(slots=True)
class Added:
    """What became of one of many: its row, or why there is none."""

    email: str
    id: int | None = None
    refusal: errors.GatewayError | None = None
    result: Result = Result.ADDED
    status: SubscriberStatus = _ACTIVE
    created_ms: int = 0


@dataclass(slots=True)
class Checked:
    """A `New` that passed: `fields` is JSON, null in it takes a field away."""

    email: str
    address: str
    fields: str
    status: SubscriberStatus | None = None


@dataclass(slots=True)
class _Row:
    """A row as it is, or will be."""

    id: int | None
    email: str
    address: str
    fields: str
    status: SubscriberStatus
    created_ms: int
    before: SubscriberStatus | None = None
    changed: bool = False


def add(*, caller: Caller, list_id: int, email: Any, fields: Any = None) -> Subscriber:
    """Put one address on a list; raises `NotFound`, `InvalidAddress`, `Invalid`, `SubscriberExists`.

    Who unsubscribed is there already: only `update` makes them active again.
    """
    result = add_many(caller=caller, list_id=list_id, new=[New(email, fields)])[0]
    if result.refusal is not None:
        raise result.refusal
    return find(caller=caller, list_id=list_id, subscriber_id=result.id)


def add_many(*, caller: Caller, list_id: int, new: Sequence[New]) -> list[Added]:
    """Put up to `MOST_AT_ONCE` addresses on a list in one transaction; a result for each, in their order.

    What is wrong with one does not keep the others, nor who is there already. Raises `NotFound`, `TooManyAtOnce`.
    """
    return _many(caller, list_id, new, replace=False)


def put_many(*, caller: Caller, list_id: int, new: Sequence[New]) -> list[Added]:
    """The same, but that those who are there already are changed: their fields are merged, null takes one away.

    Who unsubscribed stays so unless a status says otherwise; where the list asks for confirmation, nobody gets
    active by that.
    """
    return _many(caller, list_id, new, replace=True)


def _many(caller: Caller, list_id: int, new: Sequence[New], *, replace: bool) -> list[Added]:
    if not 0 < len(new) <= MOST_AT_ONCE:
        raise errors.TooManyAtOnce(f"1 to {MOST_AT_ONCE} subscribers are added at once.", field="Subscribers")
    lists.find(caller=caller, list_id=list_id)
    results: list[Added] = []
    checked: list[tuple[int, Checked]] = []
    seen: set[str] = set()
    for number, item in enumerate(new):
        result = Added(str(item.email)[:320] if isinstance(item.email, str) else "")
        results.append(result)
        try:
            one = check(item)
        except errors.Invalid as error:
            result.refusal = error
            continue
        result.email = one.email
        if one.address in seen and not replace:
            result.refusal = errors.SubscriberExists("The address is in this request twice.")
            continue
        seen.add(one.address)
        checked.append((number, one))

    def work(tx: db.Transaction) -> list[Added]:
        made = put(tx, caller=caller, list_id=list_id, items=[one for _, one in checked], replace=replace)
        counts = Counter(one.result.value for one in made if one.refusal is None and one.result != Result.UNCHANGED)
        if counts:
            what = audit.person(caller.account_id, checked[0][1].address) if len(made) == 1 else f"list:{list_id}"
            audit.record(tx, caller=caller, action="subscriber.put", what=what, after={"list_id": list_id, **counts})
        return made

    made = db.in_transaction(work) if checked else []
    for (number, _), result in zip(checked, made, strict=True):
        results[number] = result
    return results


def put(
    tx: db.Transaction,
    *,
    caller: Caller,
    list_id: int,
    items: Sequence[Checked],
    replace: bool = True,
    told: bool = True,
) -> list[Added]:
    """Put checked ones on the list or, with `replace`, change who is there; a result for each, in their order.

    Of one address twice the later adds to the earlier. Not `told`: no notice of those who are unsubscribed by it.
    Raises `NotFound`.
    """
    confirms = bool(_lock(tx, caller, list_id).get(confirmations.DOUBLE_OPT_IN))
    now = clock.now_ms()
    rows = _rows(tx, list_id, list(dict.fromkeys(one.address for one in items)))
    results: list[Added] = []
    for one in items:
        row = rows.get(one.address)
        result = Added(one.email)
        results.append(result)
        if row is None:
            row = rows[one.address] = _Row(
                None, one.email, one.address, _merged("{}", one.fields), _wished(one.status, None, confirms), now
            )
        elif not replace:
            result.refusal = errors.SubscriberExists()
            continue
        else:
            try:
                result.result = Result.UPDATED if _change(row, one, confirms) else Result.UNCHANGED
            except errors.Invalid as error:
                result.refusal = error
                continue
        result.status = row.status
    _store(tx, caller, list_id, list(rows.values()), now, told=told)
    for one, result in zip(items, results, strict=True):
        if result.refusal is None:
            row = rows[one.address]
            result.id, result.status, result.created_ms = row.id, row.status, row.created_ms
    return results


def _wished(wanted: SubscriberStatus | None, now: SubscriberStatus | None, confirms: bool) -> SubscriberStatus:
    """The status that one gets: only who confirmed is active where the list asks for that."""
    if wanted is None:
        wanted = now or _ACTIVE
    if wanted is _PENDING and not confirms:
        wanted = _ACTIVE
    return _PENDING if wanted is _ACTIVE and confirms and now is not _ACTIVE else wanted


def _change(row: _Row, one: Checked, confirms: bool) -> bool:
    fields, status = _merged(row.fields, one.fields), _wished(one.status, row.status, confirms)
    if one.status is _PENDING and row.status is _ACTIVE:
        status = _ACTIVE
    if (row.email, row.fields, row.status) == (one.email, fields, status):
        return False
    if row.before is None and row.id is not None:
        row.before = row.status
    row.email, row.fields, row.status, row.changed = one.email, fields, status, True
    return True


def _merged(old: str, new: str) -> str:
    """Fields after a change; null takes one away."""
    if new == "{}":
        return old
    merged = orjson.loads(old) | orjson.loads(new)
    return _fields({name: value for name, value in merged.items() if value is not None})


def _lock(tx: db.Transaction, caller: Caller, list_id: int) -> dict[str, Any]:
    """Hold the list: who adds to it takes turns, so ids follow the commit order and addresses stay unique.

    Returns the list's options.
    """
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    sql = f"SELECT options FROM mail_list WHERE id = ? AND account_id = ? AND deleted_ms IS NULL{lock}"
    found = tx.rows(sql, (list_id, caller.account_id))
    if not found:
        raise errors.NotFound(what="list")
    return dict(orjson.loads(found[0][0] or "{}"))


def _rows(tx: db.Transaction, list_id: int, addresses_: Sequence[str]) -> dict[str, _Row]:
    """Those of the addresses that are on the list; removed ones have given theirs up."""
    found: dict[str, _Row] = {}
    for start in range(0, len(addresses_), 500):
        some = addresses_[start : start + 500]
        for row_id, email, address, fields, status, created_ms in tx.rows(
            "SELECT id, email, address, fields, status, created_ms FROM subscriber WHERE list_id = ?"
            f" AND address IN ({','.join('?' * len(some))})",
            (list_id, *some),
        ):
            found[address] = _Row(row_id, email, address, fields, SubscriberStatus(status), created_ms)
    return found


def _store(tx: db.Transaction, caller: Caller, list_id: int, rows: Sequence[_Row], now: int, *, told: bool) -> None:
    fresh = [row for row in rows if row.id is None]
    for start in range(0, len(fresh), _CHUNK):
        some = fresh[start : start + _CHUNK]
        marks = ",".join(["(?,?,?,?,?,?,?,?,?)"] * len(some))
        tx.execute(
            "INSERT INTO subscriber (list_id, account_id, email, address, fields, status, status_ms, created_ms,"
            f" updated_ms) VALUES {marks}",
            [
                value
                for row in some
                for value in (
                    list_id, caller.account_id, row.email, row.address, row.fields, int(row.status), now, now, now,
                )
            ],
        )  # fmt: skip
    made = _rows(tx, list_id, [row.address for row in fresh])
    for row in fresh:
        row.id = made[row.address].id
    changed = [row for row in rows if row.changed and row.before is not None]
    if changed:
        tx.executemany(
            "UPDATE subscriber SET email = ?, fields = ?, updated_ms = ? WHERE id = ?",
            [(row.email, row.fields, now, row.id) for row in changed],
        )
    counts: Counter[int] = Counter(int(row.status) for row in fresh)
    list_counts.change(tx, list_id, counts)
    for row in changed:
        if row.before is not row.status and row.before is not None and row.id is not None:
            _move(tx, caller, list_id, row.id, row.status, told=told)
    automation_signals.of_subscribers(
        tx, automation_signals.ADDED, account_id=caller.account_id, list_id=list_id,
        people=[(row.id, row.email) for row in fresh if row.status is _ACTIVE],
    )  # fmt: skip
    left = [row for row in fresh if row.status is _UNSUBSCRIBED]
    _suppress(tx, caller.account_id, list_id, [row.address for row in left])
    asked = [row.id for row in fresh if row.status is _PENDING and row.id is not None]
    confirmations.ask(tx, account_id=caller.account_id, list_id=list_id, subscriber_ids=asked)


def _suppress(tx: db.Transaction, account_id: int, list_id: int, found: Sequence[str]) -> None:
    """Nothing that goes to the list comes to them any more, what waits in the queue included."""
    scope = suppressions.list_scope(list_id)
    for start in range(0, len(found), suppressions.BATCH):
        entries = [
            Entry(address, suppressions.UNSUBSCRIBE, scope, rule=UNSUBSCRIBE_RULE)
            for address in found[start : start + suppressions.BATCH]
        ]
        suppressions.put(tx, account_id=account_id, entries=entries)


def list_(
    *, caller: Caller, list_id: int, status: SubscriberStatus | None = None, start: int = 0, count: int = MOST_LISTED
) -> tuple[list[Subscriber], int]:
    """Some of a list's subscribers, the oldest first, and how many there are; raises `NotFound`."""
    found = lists.find(caller=caller, list_id=list_id)
    totals = {_ACTIVE: found.active, _UNSUBSCRIBED: found.unsubscribed, _PENDING: found.pending}
    wanted = [status] if status is not None else list(totals)
    marks = ",".join("?" * len(wanted))
    rows = db.rows(  # the page is found in the index, then its rows are read
        f"SELECT {_COLUMNS} FROM subscriber JOIN (SELECT id AS page_id FROM subscriber WHERE list_id = ?"
        f" AND status IN ({marks}) ORDER BY id LIMIT ? OFFSET ?) page ON page_id = id ORDER BY id",
        (list_id, *map(int, wanted), min(count, MOST_LISTED), start),
    )
    return [_shown(row) for row in rows], sum(totals[one] for one in wanted)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which to list; empty fields do not narrow it. `since_ms`: added or changed since."""

    status: SubscriberStatus | None = None
    email: str = ""
    field: tuple[str, str] | None = None
    since_ms: int | None = None


def page(
    *, caller: Caller, list_id: int, wanted: Wanted, count: int, after: int | None = None
) -> tuple[list[Subscriber], int | None]:
    """Up to `count` of a list's subscribers behind a number, and where the next page begins, None at the end.

    A page that looked at `LOOKED_AT_MOST` rows ends there, however few it found. Raises `NotFound`.
    """
    lists.find(caller=caller, list_id=list_id)
    if wanted.email:
        try:
            found = [find(caller=caller, list_id=list_id, email=wanted.email)]
        except errors.SubscriberNotFound:
            return [], None
        return [one for one in found if _is_wanted(one, wanted) and one.id > (after or 0)], None
    narrow = wanted.field is not None or wanted.since_ms is not None
    window = 1_000 if narrow else count + 1
    index = "subscriber_list_id_id" if wanted.status is None else "subscriber_list_id_status_id"
    use = f"INDEXED BY {index}" if db.dialect() == "sqlite" else f"FORCE INDEX ({index})"
    status = ("<>", int(_REMOVED)) if wanted.status is None else ("=", int(wanted.status))
    at, kept, looked = after or 0, list[Subscriber](), 0
    while True:
        rows = db.rows(
            f"SELECT {_COLUMNS} FROM subscriber {use} WHERE list_id = ? AND status {status[0]} ? AND id > ?"
            " ORDER BY id LIMIT ?",
            (list_id, status[1], at, window),
        )
        looked += len(rows)
        for row in rows:
            one = _shown(row)
            if not _is_wanted(one, wanted):
                continue
            if len(kept) == count:
                return kept, kept[-1].id
            kept.append(one)
        if len(rows) < window:
            return kept, None
        at = rows[-1][0]
        if looked >= LOOKED_AT_MOST:
            return kept, at


def _is_wanted(one: Subscriber, wanted: Wanted) -> bool:
    if wanted.status is not None and one.status is not wanted.status:
        return False
    if wanted.since_ms is not None and one.updated_ms < wanted.since_ms:
        return False
    if wanted.field is None:
        return True
    name, value = wanted.field
    return segment_conditions.same(one.fields.get(name), value)


def find(*, caller: Caller, list_id: int, subscriber_id: int | None = None, email: str | None = None) -> Subscriber:
    """By id, else by address; raises `WhichSubscriber`, `NotFound` (the list) and `SubscriberNotFound`."""
    if subscriber_id is None and email is None:
        raise errors.WhichSubscriber()
    lists.find(caller=caller, list_id=list_id)
    column, value = ("id", subscriber_id) if subscriber_id is not None else ("address", _address(email))
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM subscriber WHERE list_id = ? AND account_id = ? AND {column} = ? AND status <> ?",
        (list_id, caller.account_id, value, int(_REMOVED)),
    )
    if not rows:
        raise errors.SubscriberNotFound(what="subscriber")
    return _shown(rows[0])


def update(
    *,
    caller: Caller,
    subscriber: Subscriber,
    email: str | None = None,
    fields: Any = None,
    status: SubscriberStatus | None = None,
) -> Subscriber:
    """Change the address, some fields (null takes one away) or the status of one that `find` gave.

    Raises `InvalidAddress`, `Invalid`, `SubscriberExists`, `SubscriberNotFound`, and `NotConfirmed` for making
    active who has not confirmed where the list asks for that.
    """
    new = check(New(subscriber.email if email is None else email, fields))
    kept = _merged(orjson.dumps(subscriber.fields).decode(), new.fields)
    now = clock.now_ms()

    def work(tx: db.Transaction) -> bool:
        confirms = bool(_lock(tx, caller, subscriber.list_id).get(confirmations.DOUBLE_OPT_IN))
        there = _rows(tx, subscriber.list_id, [new.address]).get(new.address)
        if there is not None and there.id != subscriber.id:
            raise errors.SubscriberExists()
        found = tx.rows(
            "SELECT status FROM subscriber WHERE id = ? AND account_id = ? AND status <> ?",
            (subscriber.id, caller.account_id, int(_REMOVED)),
        )
        if not found:
            return False
        if status is not None:
            wished = _wished(status, SubscriberStatus(found[0][0]), confirms)
            if status is _ACTIVE and wished is _PENDING:
                raise errors.NotConfirmed()
            _move(tx, caller, subscriber.list_id, subscriber.id, wished)
        tx.execute(
            "UPDATE subscriber SET email = ?, address = ?, fields = ?, updated_ms = ? WHERE id = ?",
            (new.email, new.address, kept, now, subscriber.id),
        )
        _audit(
            tx, caller, "subscriber.update", subscriber, status=status.name.lower() if status is not None else None,
            fields=sorted(orjson.loads(new.fields)), address_changed=new.email != subscriber.email,
        )  # fmt: skip
        return True

    if not db.in_transaction(work):
        raise errors.SubscriberNotFound(what="subscriber")
    return find(caller=caller, list_id=subscriber.list_id, subscriber_id=subscriber.id)


def unsubscribe(*, caller: Caller, subscriber: Subscriber) -> Subscriber:
    """From now on nothing that goes to the list comes to them, what waits included; a second call is harmless."""

    def work(tx: db.Transaction) -> None:
        _move(tx, caller, subscriber.list_id, subscriber.id, _UNSUBSCRIBED)
        _audit(tx, caller, "subscriber.unsubscribe", subscriber)

    db.in_transaction(work)
    return find(caller=caller, list_id=subscriber.list_id, subscriber_id=subscriber.id)


def remove(*, caller: Caller, subscriber: Subscriber) -> None:
    """Take them off the list; the row stays while a message that was accepted before has to tell what became of it."""

    def work(tx: db.Transaction) -> None:
        _move(tx, caller, subscriber.list_id, subscriber.id, _REMOVED)
        # No address looks like this: whoever comes again under the same one is somebody new.
        tx.execute(
            "UPDATE subscriber SET address = ? WHERE id = ? AND account_id = ?",
            (f"#{subscriber.id}", subscriber.id, caller.account_id),
        )
        _audit(tx, caller, "subscriber.delete", subscriber)

    db.in_transaction(work)


def _audit(tx: db.Transaction, caller: Caller, action: str, subscriber: Subscriber, **told: Any) -> None:
    """What of them was changed, not to what: entries cannot be changed when a person asks to be erased."""
    what = audit.person(caller.account_id, subscriber.email)
    audit.record(tx, caller=caller, action=action, what=what, after={"list_id": subscriber.list_id, **told})


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
        _move_in(tx, account_id, list_id, subscriber_id, _ACTIVE)
        return True

    return db.in_transaction(work)


def unsubscribe_addresses(tx: db.Transaction, *, account_id: int, list_id: int, found: Sequence[str]) -> None:
    """Unsubscribe those of these normalised addresses that are on the list; part of a suppression of that list."""
    for row in _rows(tx, list_id, found).values():
        if row.id is not None:
            _move_in(tx, account_id, list_id, row.id, _UNSUBSCRIBED)


def _move(
    tx: db.Transaction,
    caller: Caller,
    list_id: int,
    subscriber_id: int,
    status: SubscriberStatus,
    *,
    told: bool = True,
) -> None:
    _move_in(tx, caller.account_id, list_id, subscriber_id, status, told=told)


def _move_in(
    tx: db.Transaction,
    account_id: int,
    list_id: int,
    subscriber_id: int,
    status: SubscriberStatus,
    *,
    told: bool = True,
) -> None:
    """Give one another status, with everything that hangs on it; nothing where they have it, or are removed."""
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
        confirmations.ask(tx, account_id=account_id, list_id=list_id, subscriber_ids=[subscriber_id])
    elif status is _UNSUBSCRIBED:
        _suppress(tx, account_id, list_id, [address])
    elif status is _ACTIVE:
        tx.execute(
            "DELETE FROM suppression WHERE account_id = ? AND address = ? AND domain_id = ? AND rule = ?",
            (account_id, address, suppressions.list_scope(list_id), UNSUBSCRIBE_RULE),
        )
    word = {_ACTIVE: automation_signals.ADDED, _UNSUBSCRIBED: automation_signals.UNSUBSCRIBED}.get(status)
    if word is not None:
        automation_signals.of_subscribers(
            tx, word, account_id=account_id, list_id=list_id, people=[(subscriber_id, email)]
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


def check(item: New) -> Checked:
    """Raises `InvalidAddress`, `Invalid` (the fields, the status)."""
    try:
        email = addresses.check(item.email) if isinstance(item.email, str) else ""
    except errors.Invalid:
        email = ""
    if not email:
        raise errors.InvalidAddress(field="EmailAddress")
    if item.status is not None and item.status not in (_ACTIVE, _UNSUBSCRIBED, _PENDING):
        raise errors.Invalid("The status should be active, unsubscribed or pending.", field="status")
    return Checked(email, suppressions.normalise(email), _fields(item.fields), item.status)


def _fields(value: Any) -> str:
    """Fields as the row keeps them; raises `Invalid`."""
    if value is None or value == "" or value == []:
        return "{}"
    if not isinstance(value, Mapping):
        raise errors.Invalid("Fields should be an object of names and values.", field="Fields")
    if any(not name or len(name) > FIELD_NAME_LENGTH for name in value):
        raise errors.Invalid(f"A field's name has 1 to {FIELD_NAME_LENGTH} characters.", field="Fields")
    data = orjson.dumps(value)
    if len(data) > FIELDS_MOST:
        raise errors.Invalid(f"The fields have more than {FIELDS_MOST} bytes.", field="Fields")
    return data.decode()


def _address(email: str | None) -> str:
    try:
        return suppressions.normalise(addresses.check(email or ""))
    except errors.Invalid:
        return ""


def _shown(row: tuple[Any, ...]) -> Subscriber:
    row_id, list_id, email, fields, status, created_ms, updated_ms, status_ms = row
    return Subscriber(
        row_id, list_id, email, orjson.loads(fields), SubscriberStatus(status), created_ms, updated_ms, status_ms
    )
