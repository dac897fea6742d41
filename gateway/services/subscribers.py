"""Who stands on a list: added one by one or by the thousand, changed, unsubscribed and removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from gateway import clock, errors
from gateway.mail import address as addresses
from gateway.services import (
    audit,
    automation_signals,
    confirmations,
    list_counts,
    lists,
    subscriber_moves,
    suppressions,
)
from gateway.services.identity import Caller
from gateway.services.subscriber_pages import MOST_LISTED, Subscriber, Wanted, find, list_, page
from models import database as db
from models.vocabulary import SubscriberStatus

__all__ = [
    "FIELD_NAME_LENGTH",
    "MOST_AT_ONCE",
    "MOST_LISTED",
    "Added",
    "Checked",
    "New",
    "Result",
    "Subscriber",
    "Wanted",
    "add",
    "add_many",
    "check",
    "find",
    "list_",
    "page",
    "put",
    "put_many",
    "remove",
    "unsubscribe",
    "update",
]

MOST_AT_ONCE = 1_000
FIELDS_MOST = 16_384
"""Bytes of one subscriber's fields as JSON."""
FIELD_NAME_LENGTH = 64

_ACTIVE, _UNSUBSCRIBED = SubscriberStatus.ACTIVE, SubscriberStatus.UNSUBSCRIBED
_REMOVED, _PENDING = SubscriberStatus.REMOVED, SubscriberStatus.PENDING
_CHUNK = 200


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
            subscriber_moves.move(tx, caller.account_id, list_id, row.id, row.status, told=told, live=caller.live)
    automation_signals.of_subscribers(
        tx, automation_signals.ADDED, account_id=caller.account_id, list_id=list_id,
        people=[(row.id, row.email) for row in fresh if row.status is _ACTIVE], live=caller.live,
    )  # fmt: skip
    left = [row for row in fresh if row.status is _UNSUBSCRIBED]
    subscriber_moves.suppress(tx, caller.account_id, list_id, [row.address for row in left])
    asked = [row.id for row in fresh if row.status is _PENDING and row.id is not None]
    confirmations.ask(tx, account_id=caller.account_id, list_id=list_id, subscriber_ids=asked, live=caller.live)
    if caller.live:
        waiting = [row.id for row in rows if row.status is _PENDING and row.id is not None]
        confirmations.ask_for_real(tx, subscriber_ids=waiting)


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
            subscriber_moves.move(tx, caller.account_id, subscriber.list_id, subscriber.id, wished, live=caller.live)
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
        subscriber_moves.move(tx, caller.account_id, subscriber.list_id, subscriber.id, _UNSUBSCRIBED, live=caller.live)
        _audit(tx, caller, "subscriber.unsubscribe", subscriber)

    db.in_transaction(work)
    return find(caller=caller, list_id=subscriber.list_id, subscriber_id=subscriber.id)


def remove(*, caller: Caller, subscriber: Subscriber) -> None:
    """Take them off the list; the row stays while a message that was accepted before has to tell what became of it.

    Raises `SubscriberNotFound` where somebody else did it meanwhile.
    """

    def work(tx: db.Transaction) -> None:
        subscriber_moves.move(tx, caller.account_id, subscriber.list_id, subscriber.id, _REMOVED)
        # No address looks like this: whoever comes again under the same one is somebody new.
        gone = f"#{subscriber.id}"
        changed = tx.execute(
            "UPDATE subscriber SET address = ? WHERE id = ? AND account_id = ? AND address <> ?",
            (gone, subscriber.id, caller.account_id, gone),
        )
        if not changed.rowcount:
            raise errors.SubscriberNotFound(what="subscriber")
        _audit(tx, caller, "subscriber.delete", subscriber)

    db.in_transaction(work)


def _audit(tx: db.Transaction, caller: Caller, action: str, subscriber: Subscriber, **told: Any) -> None:
    """What of them was changed, not to what: entries cannot be changed when a person asks to be erased."""
    what = audit.person(caller.account_id, subscriber.email)
    audit.record(tx, caller=caller, action=action, what=what, after={"list_id": subscriber.list_id, **told})


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
