"""Who stands on a list: AddSubscriber(s), GetSubscribers, UpdateSubscriber, RemoveSubscriber, UnsubscribeSubscriber."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import UNDOCUMENTED, Anything, Field, Id, Object, Params, Text, Whole
from gateway import clock, errors
from gateway.services import subscribers
from gateway.services.identity import Caller
from gateway.services.subscribers import Added, New, Subscriber
from models.vocabulary import SubscriberStatus

_EXAMPLE = {
    "SubscriberID": "15",
    "ListID": "3",
    "EmailAddress": "jane@example.com",
    "Fields": {"firstName": "Jane"},
    "Status": "Active",
    "CreatedAt": "2026-01-01 12:00:00",
    "UpdatedAt": "2026-01-01 12:00:00",
}
_WORDS = {
    SubscriberStatus.ACTIVE: "Active",
    SubscriberStatus.UNSUBSCRIBED: "Unsubscribed",
    SubscriberStatus.PENDING: "Pending",
}
_ADDRESS_DOC = "The email address"
_FIELDS_DOC = "Values for templates, such as firstName"
_EXISTS, _INVALID, _MISSING = 5, 4, 2


class Status(Field):
    """Active, Unsubscribed or Pending, in any case."""

    def read(self, value: Any) -> SubscriberStatus:
        word = value.strip().lower() if isinstance(value, str) else ""
        found = next((status for status, name in _WORDS.items() if name.lower() == word), None)
        return found if found is not None else self.refuse("should be Active, Unsubscribed or Pending")


class ListParams(Params):
    ListID = Id(missing=1, doc="The number of the list")


class AddSubscriberParams(ListParams):
    EmailAddress = Text(missing=_MISSING, invalid=_INVALID, max=320, doc=_ADDRESS_DOC)
    Fields = Object(required=False, doc=_FIELDS_DOC)


class AddSubscribersParams(ListParams):
    Subscribers = Anything(missing=2, doc="Up to 1,000 objects with EmailAddress and Fields")


class GetSubscribersParams(ListParams):
    Status = Status(required=False, invalid=3, doc="Active, Unsubscribed or Pending (asked to confirm); all without it")
    StartFrom = Whole(required=False, doc="How many subscribers to skip")
    RetrieveCount = Whole(required=False, low=1, high=100, clamp=True, doc="How many to return, at most 100")


class SubscriberParams(ListParams):
    SubscriberID = Id(required=False, doc="The number of the subscriber")
    EmailAddress = Text(required=False, max=320, doc="The email address, where there is no SubscriberID")


class UpdateSubscriberParams(SubscriberParams):
    NewEmailAddress = Text(required=False, invalid=5, max=320, doc="The address to write to from now on")
    Fields = Object(required=False, doc="Fields to change; null takes one away, the others stay")
    Status = Status(required=False, invalid=7, doc="Active or Unsubscribed")


_WHICH = {
    1: "Missing required parameter: ListID",
    2: "Missing required parameter: SubscriberID or EmailAddress",
    3: "List not found",
    4: "Subscriber not found",
}
_WHICH_REFUSALS: dict[type[errors.GatewayError], int] = {
    errors.WhichSubscriber: 2,
    errors.NotFound: 3,
    errors.SubscriberNotFound: 4,
}


@command(
    "EmailGateway.AddSubscriber",
    summary="Put an address on a list",
    params=AddSubscriberParams,
    errors={
        1: "Missing required parameter: ListID",
        2: "Missing required parameter: EmailAddress",
        3: "List not found",
        4: "Email address is invalid",
        5: "Email address is on the list already, active or unsubscribed",
    },
    refusals={errors.NotFound: 3, errors.InvalidAddress: 4, errors.SubscriberExists: 5},
    answer={"NewSubscriberID": "15", "Subscriber": _EXAMPLE},
)
def add_subscriber(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    made = subscribers.add(
        caller=caller, list_id=params["ListID"], email=params["EmailAddress"], fields=params.get("Fields")
    )
    new_id = made.id if caller.options.get("numeric_ids") else str(made.id)
    return {"NewSubscriberID": new_id, "Subscriber": _shown(made)}


@command(
    "EmailGateway.AddSubscribers",
    summary="Put up to 1,000 addresses on a list; each has a result of its own",
    params=AddSubscribersParams,
    errors={
        1: "Missing required parameter: ListID",
        2: "Subscribers is not a list of 1 to 1,000 objects",
        3: "List not found",
    },
    refusals={errors.TooManyAtOnce: 2, errors.NotFound: 3},
    answer={
        "Added": 1,
        "Failed": 1,
        "Results": [
            {"EmailAddress": "jane@example.com", "Success": True, "ErrorCode": 0, "SubscriberID": "15"},
            {
                "EmailAddress": "nobody",
                "Success": False,
                "ErrorCode": 4,
                "ErrorText": "The email address is invalid.",
            },
        ],
    },
)
def add_subscribers(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    items = params["Subscribers"]
    if not isinstance(items, list):
        raise errors.TooManyAtOnce()
    results = subscribers.add_many(caller=caller, list_id=params["ListID"], new=[_new(item) for item in items])
    added = sum(result.refusal is None for result in results)
    return {"Added": added, "Failed": len(results) - added, "Results": [_result(result) for result in results]}


@command(
    "EmailGateway.GetSubscribers",
    summary="List the subscribers of a list",
    params=GetSubscribersParams,
    errors={1: "Missing required parameter: ListID", 2: "List not found", 3: "Status is not Active or Unsubscribed"},
    refusals={errors.NotFound: 2},
    answer={"Subscribers": [_EXAMPLE], "TotalRecords": 1},
)
def get_subscribers(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found, total = subscribers.list_(
        caller=caller,
        list_id=params["ListID"],
        status=params.get("Status"),
        start=params.get("StartFrom", 0),
        count=params.get("RetrieveCount", subscribers.MOST_LISTED),
    )
    return {"Subscribers": [_shown(one) for one in found], "TotalRecords": total}


@command(
    "EmailGateway.UpdateSubscriber",
    summary="Change a subscriber's address, fields or status",
    params=UpdateSubscriberParams,
    errors={
        **_WHICH,
        5: "NewEmailAddress is invalid",
        6: "NewEmailAddress is on the list already",
        7: "Status is not Active or Unsubscribed",
    },
    refusals={**_WHICH_REFUSALS, errors.InvalidAddress: 5, errors.SubscriberExists: 6},
    answer={"Subscriber": _EXAMPLE},
)
def update_subscriber(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    changed = subscribers.update(
        caller=caller,
        subscriber=_which(caller, params),
        email=params.get("NewEmailAddress"),
        fields=params.get("Fields"),
        status=params.get("Status"),
    )
    return {"Subscriber": _shown(changed)}


@command(
    "EmailGateway.UnsubscribeSubscriber",
    summary="Unsubscribe somebody from a list; they stay on it and are not written to",
    params=SubscriberParams,
    errors=_WHICH,
    refusals=_WHICH_REFUSALS,
    answer={"Subscriber": {**_EXAMPLE, "Status": "Unsubscribed"}},
)
def unsubscribe_subscriber(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"Subscriber": _shown(subscribers.unsubscribe(caller=caller, subscriber=_which(caller, params)))}


@command(
    "EmailGateway.RemoveSubscriber",
    summary="Take somebody off a list",
    params=SubscriberParams,
    errors=_WHICH,
    refusals=_WHICH_REFUSALS,
)
def remove_subscriber(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    subscribers.remove(caller=caller, subscriber=_which(caller, params))
    return {}


def _which(caller: Caller, params: dict[str, Any]) -> Subscriber:
    return subscribers.find(
        caller=caller,
        list_id=params["ListID"],
        subscriber_id=params.get("SubscriberID"),
        email=params.get("EmailAddress"),
    )


def _new(item: Any) -> New:
    """One of many, with names in lower case; a text alone is an address."""
    if not isinstance(item, dict):
        return New(item)
    return New(item.get("emailaddress", item.get("email")), item.get("fields"))


def _result(result: Added) -> dict[str, Any]:
    shown: dict[str, Any] = {"EmailAddress": result.email, "Success": result.refusal is None, "ErrorCode": 0}
    if result.refusal is None:
        return shown | {"SubscriberID": str(result.id)}
    return shown | {"ErrorCode": _number(result), "ErrorText": result.refusal.message}


def _number(result: Added) -> int:
    """The number that AddSubscriber has for it."""
    if isinstance(result.refusal, errors.SubscriberExists):
        return _EXISTS
    if isinstance(result.refusal, errors.InvalidAddress):
        return _INVALID if result.email else _MISSING
    return UNDOCUMENTED


def _shown(one: Subscriber) -> dict[str, Any]:
    return {
        "SubscriberID": str(one.id),
        "ListID": str(one.list_id),
        "EmailAddress": one.email,
        "Fields": one.fields,
        "Status": _WORDS[one.status],
        "CreatedAt": clock.sql_text(one.created_ms),
        "UpdatedAt": clock.sql_text(one.updated_ms),
    }
