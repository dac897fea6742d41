"""`/v1/lists/{id}/subscribers`: who stands on a mail list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway import clock, errors, ids
from gateway.services import confirmations, subscribers
from gateway.services.identity import Caller
from gateway.services.subscribers import Added, New, Subscriber, Wanted
from models.vocabulary import SubscriberStatus
from web.rest import fields, paging, refusals
from web.rest.v1.lists import the_list
from web.rest.v1.operation import Answer, operation

_ONE = {
    "id": "sub_01KH8N3QZJ70080000000000XQ",
    "list_id": "lst_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "email": "jane@example.com",
    "status": "active",
    "fields": {"first_name": "Jane"},
    "created_at": "2026-04-19T10:24:11Z",
    "updated_at": "2026-04-19T10:24:11Z",
}
STATUSES = {
    "active": SubscriberStatus.ACTIVE,
    "unsubscribed": SubscriberStatus.UNSUBSCRIBED,
    "pending": SubscriberStatus.PENDING,
}
_WORDS = {status: word for word, status in STATUSES.items()}
_PERSONAL = ("name", "first_name", "last_name")
"""What many clients write beside the address: kept as fields of these names."""

_KNOWN = frozenset({"email", "fields", "status", *_PERSONAL})
_ITEM = {
    "type": "object",
    "properties": {"email": {"type": "string"}, "fields": {"type": "object"}, "status": {"enum": list(STATUSES)}},
}


class _List(fields.Listing):
    status = fields.Text(choices=STATUSES)
    email = fields.Text(max=320, load_default="", doc="Only this address")
    field = fields.Text(max=400, doc="Only those whose field has a value: `city:Berlin`")
    since = fields.Moment(doc="Only those who were added or changed since")


class _Put(fields.Params):
    email = fields.Text(max=320)
    fields_ = fields.Anything(data_key="fields", shape={"type": "object"}, doc="Values by name; null takes one away")
    status = fields.Text(
        choices=STATUSES, doc="Without it whoever is new gets active, or pending, and the others stay as they are"
    )
    name = fields.Text(max=1000, doc="Short for the field of this name")
    first_name = fields.Text(max=1000, doc="Short for the field of this name")
    last_name = fields.Text(max=1000, doc="Short for the field of this name")
    subscribers = fields.Anything(
        shape={"type": "array", "items": _ITEM, "maxItems": subscribers.MOST_AT_ONCE},
        doc="Up to 1,000 objects with email, fields and status, instead of one",
    )


class _Change(fields.Params):
    email = fields.Text(max=320, min=1, doc="The address to write to from now on")
    fields_ = fields.Anything(data_key="fields", shape={"type": "object"}, doc="Fields to change; null takes one away")
    status = fields.Text(choices=("active", "unsubscribed"))


class _Remove(fields.Params):
    mode = fields.Text(
        choices=("remove", "unsubscribe"), load_default="remove",
        doc="remove: off the list. unsubscribe: stays on it, and is not written to",
    )  # fmt: skip


@operation(
    "GET",
    "/lists/<list_id>/subscribers",
    permission="read:lists",
    several=True,
    of_account=True,
    summary="List the subscribers of a mail list, the oldest first",
    params=_List,
    answer={"data": [_ONE], "has_more": False, "next_cursor": None},
)
def list_subscribers(caller: Caller, params: dict[str, Any], list_id: str) -> dict[str, Any]:
    """Where a filter finds few among many a page may be short: `has_more` alone says whether there are others."""
    found = the_list(caller, list_id)
    name, colon, value = params.get("field", "").partition(":")
    if params.get("field") and not (name and colon):
        raise errors.Invalid("field: Should be a name, a colon and a value.", field="field")
    status = STATUSES.get(params.get("status", ""))
    wanted = Wanted(status, params["email"].strip(), (name, value) if name else None, params.get("since"))
    rows, behind = subscribers.page(
        caller=caller, list_id=found.id, wanted=wanted, count=params["limit"], after=paging.last_id(params["cursor"])
    )
    return {
        "data": [shown(one, list_id=ids.public_id("lst", found.uuid)) for one in rows],
        "has_more": behind is not None,
        "next_cursor": None if behind is None else paging.cursor(behind),
    }


@operation(
    "POST",
    "/lists/<list_id>/subscribers",
    permission="write:lists",
    several=True,
    of_account=True,
    summary="Add or update one subscriber, or up to 1,000",
    params=_Put,
    answer={
        "results": [
            {
                "index": 0,
                "email": "jane@example.com",
                "result": "added",
                "id": _ONE["id"],
                "status": "active",
            },
            {
                "index": 1,
                "email": "nobody",
                "result": "failed",
                "error": {"code": "invalid_address", "message": "The email address is invalid.", "field": "email"},
            },
        ],
        "added": 1,
        "updated": 0,
        "unchanged": 0,
        "failed": 1,
    },
)
def put_subscribers(caller: Caller, params: dict[str, Any], list_id: str) -> Answer:
    """One object: 201 with the subscriber that was added, 200 where it was there. Many: 200 with a result for each."""
    found = the_list(caller, list_id)
    if "subscribers" not in params:
        return _put_one(caller, params, found.id, ids.public_id("lst", found.uuid))
    items = params["subscribers"]
    if not isinstance(items, list) or not items:
        raise errors.Invalid("subscribers: Should be a list of at least one object.", field="subscribers")
    if len(items) > subscribers.MOST_AT_ONCE:
        raise errors.TooLarge(
            f"At most {subscribers.MOST_AT_ONCE} subscribers are put on a list at once; more are imported.",
            field="subscribers",
        )
    warnings = _warnings(items)
    if warnings and caller.strict:
        raise errors.UnknownFields("Unknown fields: " + ", ".join(one["field"] for one in warnings), fields=warnings)
    results = subscribers.put_many(caller=caller, list_id=found.id, new=[_new(item) for item in items])
    body: dict[str, Any] = {"results": [_result(at, one) for at, one in enumerate(results)]}
    done = [one["result"] for one in body["results"]]
    body |= {word: done.count(word) for word in ("added", "updated", "unchanged", "failed")}
    return Answer(body | ({"warnings": warnings} if warnings else {}))


def _put_one(caller: Caller, params: dict[str, Any], number: int, list_id: str) -> Answer:
    if "email" not in params:
        raise errors.Invalid(fields.required("email"), field="email")
    (result,) = subscribers.put_many(caller=caller, list_id=number, new=[_new(params)])
    if result.refusal is not None:
        raise result.refusal
    one = subscribers.find(caller=caller, list_id=number, subscriber_id=result.id)
    body = shown(one, list_id=list_id) | {"result": result.result.value}
    return Answer(body, 201 if result.result is subscribers.Result.ADDED else 200)


def _new(item: Any) -> New:
    """One as it was sent; a text alone is an address."""
    if not isinstance(item, Mapping):
        return New(item)
    values = item.get("fields", item.get("fields_"))
    short = {name: item[name] for name in _PERSONAL if item.get(name) is not None}
    if short and (values is None or isinstance(values, Mapping)):
        values = short | dict(values or {})
    word = item.get("status")
    return New(item.get("email"), values, STATUSES.get(word, word) if isinstance(word, str) else word)


def _warnings(items: list[Any]) -> list[dict[str, str]]:
    found: dict[str, None] = {}
    for at, item in enumerate(items):
        if isinstance(item, Mapping):
            for name in item.keys() - _KNOWN:
                found[f"subscribers.{at}.{name}"] = None
    return [{"field": name, "message": "This field is not known and was not read."} for name in list(found)[:100]]


def _result(index: int, one: Added) -> dict[str, Any]:
    body: dict[str, Any] = {"index": index, "email": one.email}
    if one.refusal is not None:
        return body | {"result": "failed", "error": refusals.of_item(one.refusal)}
    return body | {
        "result": one.result.value,
        "id": ids.numbered("sub", one.created_ms, one.id or 0),
        "status": _WORDS[one.status],
    }


@operation(
    "GET",
    "/lists/<list_id>/subscribers/<subscriber_id>",
    permission="read:lists",
    several=True,
    of_account=True,
    summary="Show a subscriber, by id or by address",
    answer=_ONE,
)
def show_subscriber(caller: Caller, params: dict[str, Any], list_id: str, subscriber_id: str) -> dict[str, Any]:
    return shown(_found(caller, list_id, subscriber_id), list_id=_list_id(list_id))


@operation(
    "PATCH",
    "/lists/<list_id>/subscribers/<subscriber_id>",
    permission="write:lists",
    several=True,
    of_account=True,
    summary="Change a subscriber's address, fields or status",
    params=_Change,
    answer=_ONE,
)
def change_subscriber(caller: Caller, params: dict[str, Any], list_id: str, subscriber_id: str) -> dict[str, Any]:
    """409 for making active who has to confirm first, and for an address that is on the list already."""
    changed = subscribers.update(
        caller=caller,
        subscriber=_found(caller, list_id, subscriber_id),
        email=params.get("email"),
        fields=params.get("fields_"),
        status=STATUSES.get(params.get("status", "")),
    )
    return shown(changed, list_id=_list_id(list_id))


@operation(
    "DELETE",
    "/lists/<list_id>/subscribers/<subscriber_id>",
    permission="write:lists",
    several=True,
    of_account=True,
    summary="Remove a subscriber, or with mode=unsubscribe unsubscribe them",
    params=_Remove,
    answer={"id": _ONE["id"], "email": "jane@example.com", "status": "removed"},
)
def remove_subscriber(caller: Caller, params: dict[str, Any], list_id: str, subscriber_id: str) -> dict[str, Any]:
    found = _found(caller, list_id, subscriber_id)
    if params["mode"] == "unsubscribe":
        subscribers.unsubscribe(caller=caller, subscriber=found)
    else:
        subscribers.remove(caller=caller, subscriber=found)
    status = "unsubscribed" if params["mode"] == "unsubscribe" else "removed"
    return {"id": _public(found), "email": found.email, "status": status}


@operation(
    "POST",
    "/lists/<list_id>/subscribers/<subscriber_id>/resend-confirmation",
    permission="write:lists",
    several=True,
    of_account=True,
    summary="Send a pending subscriber the mail once more that asks whether it was they",
    answer={"id": _ONE["id"], "status": "pending", "sends_at": "2026-04-19T10:24:11Z"},
    status=202,
)
def resend_confirmation(caller: Caller, params: dict[str, Any], list_id: str, subscriber_id: str) -> dict[str, Any]:
    """409 where nobody waits for a confirmation, 429 where the last mail is too recent."""
    found = _found(caller, list_id, subscriber_id)
    at_ms = confirmations.resend(caller=caller, list_id=found.list_id, subscriber_id=found.id)
    return {"id": _public(found), "status": "pending", "sends_at": clock.rfc3339(at_ms)}


def _found(caller: Caller, list_id: str, subscriber_id: str) -> Subscriber:
    number = the_list(caller, list_id).id
    if "@" in subscriber_id:
        return subscribers.find(caller=caller, list_id=number, email=subscriber_id)
    return subscribers.find(caller=caller, list_id=number, subscriber_id=ids.number_of("sub", subscriber_id) or 0)


def _list_id(text: str) -> str:
    """In the one form, however it was asked for."""
    uuid = ids.uuid_of("lst", text)
    return text if uuid is None else ids.public_id("lst", uuid)


def _public(one: Subscriber) -> str:
    return ids.numbered("sub", one.created_ms, one.id)


def shown(one: Subscriber, *, list_id: str) -> dict[str, Any]:
    return {
        "id": _public(one),
        "list_id": list_id,
        "email": one.email,
        "status": _WORDS[one.status],
        "fields": one.fields,
        "created_at": clock.rfc3339(one.created_ms),
        "updated_at": clock.rfc3339(one.updated_ms),
    }
