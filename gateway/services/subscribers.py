"""Who stands on a list: added one by one or by the thousand, changed, unsubscribed and removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import clock, errors
from gateway.mail import address as addresses
from gateway.services import lists, suppressions
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import SubscriberStatus

MOST_AT_ONCE = 1_000
MOST_LISTED = 100
FIELDS_MOST = 16_384
"""Bytes of one subscriber's fields as JSON."""
FIELD_NAME_LENGTH = 64

_ACTIVE, _REMOVED = int(SubscriberStatus.ACTIVE), int(SubscriberStatus.REMOVED)
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
    """One to be added; both as they were sent."""

    email: Any
    fields: Any = None


@dataclass(slots=True)
class Added:
    """What became of one of many: the id of its row, or why there is none."""

    email: str
    id: int | None = None
    refusal: errors.GatewayError | None = None


@dataclass(slots=True)
class _Checked:
    email: str
    address: str
    fields: str


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

    What is wrong with one does not keep the others. Raises `NotFound`, and `TooManyAtOnce`.
    """
    if not 0 < len(new) <= MOST_AT_ONCE:
        raise errors.TooManyAtOnce(f"1 to {MOST_AT_ONCE} subscribers are added at once.", field="Subscribers")
    lists.find(caller=caller, list_id=list_id)
    results: list[Added] = []
    checked: dict[str, tuple[int, _Checked]] = {}
    for number, item in enumerate(new):
        result = Added(str(item.email)[:320] if isinstance(item.email, str) else "")
        results.append(result)
        try:
            one = _check(item)
        except errors.Invalid as error:
            result.refusal = error
            continue
        result.email = one.email
        if one.address in checked:
            result.refusal = errors.SubscriberExists("The address is in this request twice.")
        else:
            checked[one.address] = (number, one)

    def work(tx: db.Transaction) -> dict[str, int | None]:
        """The ids by address; None for those that are on the list already."""
        _lock(tx, caller, list_id)
        return _insert(tx, caller.account_id, list_id, [one for _, one in checked.values()])

    made = db.in_transaction(work) if checked else {}
    for address, (number, _) in checked.items():
        if made[address] is None:
            results[number].refusal = errors.SubscriberExists()
        else:
            results[number].id = made[address]
    return results


def _lock(tx: db.Transaction, caller: Caller, list_id: int) -> None:
    """Hold the list: who adds to it takes turns, so ids follow the commit order and addresses stay unique."""
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    sql = f"SELECT id FROM mail_list WHERE id = ? AND account_id = ? AND deleted_ms IS NULL{lock}"
    if not tx.rows(sql, (list_id, caller.account_id)):
        raise errors.NotFound(what="list")


def _insert(tx: db.Transaction, account_id: int, list_id: int, new: list[_Checked]) -> dict[str, int | None]:
    now = clock.now_ms()
    known = _known(tx, list_id, [one.address for one in new])
    fresh = [one for one in new if one.address not in known]
    for start in range(0, len(fresh), _CHUNK):
        some = fresh[start : start + _CHUNK]
        marks = ",".join(["(?,?,?,?,?,?,?,?,?)"] * len(some))
        tx.execute(
            "INSERT INTO subscriber (list_id, account_id, email, address, fields, status, status_ms, created_ms,"
            f" updated_ms) VALUES {marks}",
            [
                value
                for one in some
                for value in (list_id, account_id, one.email, one.address, one.fields, _ACTIVE, now, now, now)
            ],
        )
    made = _known(tx, list_id, [one.address for one in fresh])
    return {one.address: made.get(one.address) for one in new}


def _known(tx: db.Transaction, list_id: int, found: Sequence[str]) -> dict[str, int]:
    """The ids of these addresses on the list; removed ones have given theirs up."""
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(found), 500):
        some = found[start : start + 500]
        marks = ",".join("?" * len(some))
        rows += tx.rows(
            f"SELECT address, id FROM subscriber WHERE list_id = ? AND address IN ({marks})", (list_id, *some)
        )
    return {str(address): int(row_id) for address, row_id in rows}


def list_(
    *, caller: Caller, list_id: int, status: SubscriberStatus | None = None, start: int = 0, count: int = MOST_LISTED
) -> tuple[list[Subscriber], int]:
    """Some of a list's subscribers, the oldest first, and how many there are; raises `NotFound`."""
    found = lists.find(caller=caller, list_id=list_id)
    totals = {SubscriberStatus.ACTIVE: found.active, SubscriberStatus.UNSUBSCRIBED: found.unsubscribed}
    wanted = [status] if status is not None else list(totals)
    marks = ",".join("?" * len(wanted))
    rows = db.rows(  # the page is found in the index, then its rows are read
        f"SELECT {_COLUMNS} FROM subscriber JOIN (SELECT id AS page_id FROM subscriber WHERE list_id = ?"
        f" AND status IN ({marks}) ORDER BY id LIMIT ? OFFSET ?) page ON page_id = id ORDER BY id",
        (list_id, *map(int, wanted), min(count, MOST_LISTED), start),
    )
    return [_shown(row) for row in rows], sum(totals[one] for one in wanted)


def find(*, caller: Caller, list_id: int, subscriber_id: int | None = None, email: str | None = None) -> Subscriber:
    """By id, else by address; raises `WhichSubscriber`, `NotFound` (the list) and `SubscriberNotFound`."""
    if subscriber_id is None and email is None:
        raise errors.WhichSubscriber()
    lists.find(caller=caller, list_id=list_id)
    column, value = ("id", subscriber_id) if subscriber_id is not None else ("address", _address(email))
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM subscriber WHERE list_id = ? AND account_id = ? AND {column} = ? AND status <> ?",
        (list_id, caller.account_id, value, _REMOVED),
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

    Raises `InvalidAddress`, `Invalid`, `SubscriberExists`, `SubscriberNotFound`.
    """
    new = _check(New(subscriber.email if email is None else email, fields))
    merged = subscriber.fields | orjson.loads(new.fields)
    kept = _fields({name: value for name, value in merged.items() if value is not None})
    now = clock.now_ms()

    def work(tx: db.Transaction) -> bool:
        _lock(tx, caller, subscriber.list_id)
        if _known(tx, subscriber.list_id, [new.address]).get(new.address, subscriber.id) != subscriber.id:
            raise errors.SubscriberExists()
        changed = tx.execute(
            "UPDATE subscriber SET email = ?, address = ?, fields = ?, updated_ms = ? WHERE id = ? AND account_id = ?"
            " AND status <> ?",
            (new.email, new.address, kept, now, subscriber.id, caller.account_id, _REMOVED),
        ).rowcount
        if status is not None:
            _move(tx, caller, subscriber.id, status)
        return bool(changed) or bool(
            tx.rows("SELECT id FROM subscriber WHERE id = ? AND status <> ?", (subscriber.id, _REMOVED))
        )

    if not db.in_transaction(work):
        raise errors.SubscriberNotFound(what="subscriber")
    return find(caller=caller, list_id=subscriber.list_id, subscriber_id=subscriber.id)


def unsubscribe(*, caller: Caller, subscriber: Subscriber) -> Subscriber:
    """From now on nothing that goes to the list comes to them; a second call is harmless."""
    db.in_transaction(lambda tx: _move(tx, caller, subscriber.id, SubscriberStatus.UNSUBSCRIBED))
    return find(caller=caller, list_id=subscriber.list_id, subscriber_id=subscriber.id)


def remove(*, caller: Caller, subscriber: Subscriber) -> None:
    """Take them off the list; the row stays while a message that was accepted before has to tell what became of it."""

    def work(tx: db.Transaction) -> None:
        _move(tx, caller, subscriber.id, SubscriberStatus.REMOVED)
        # No address looks like this: whoever comes again under the same one is somebody new.
        tx.execute(
            "UPDATE subscriber SET address = ? WHERE id = ? AND account_id = ?",
            (f"#{subscriber.id}", subscriber.id, caller.account_id),
        )

    db.in_transaction(work)


def _move(tx: db.Transaction, caller: Caller, subscriber_id: int, status: SubscriberStatus) -> None:
    now = clock.now_ms()
    tx.execute(
        "UPDATE subscriber SET status = ?, status_ms = ?, updated_ms = ? WHERE id = ? AND account_id = ?"
        " AND status NOT IN (?, ?)",
        (int(status), now, now, subscriber_id, caller.account_id, int(status), _REMOVED),
    )


def _check(item: New) -> _Checked:
    try:
        email = addresses.check(item.email) if isinstance(item.email, str) else ""
    except errors.Invalid:
        email = ""
    if not email:
        raise errors.InvalidAddress(field="EmailAddress")
    return _Checked(email, suppressions.normalise(email), _fields(item.fields))


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
