"""Lists of subscribers: AddList, GetLists, UpdateList and DeleteList."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Id, Params, Text, Whole
from gateway import clock, errors
from gateway.services import lists
from gateway.services.identity import Caller
from gateway.services.lists import MailList

_EXAMPLE = {
    "ListID": "3",
    "ListName": "Newsletter",
    "ActiveSubscribers": 120,
    "UnsubscribedSubscribers": 4,
    "CreatedAt": "2026-01-01 12:00:00",
    "UpdatedAt": "2026-01-01 12:00:00",
}


class AddListParams(Params):
    ListName = Text(missing=1, max=255, doc="A name to find it by")


class GetListsParams(Params):
    StartFrom = Whole(required=False, doc="How many lists to skip")
    RetrieveCount = Whole(required=False, low=1, high=100, clamp=True, doc="How many to return, at most 100")


class ListParams(Params):
    ListID = Id(missing=1, doc="The number of the list")


class UpdateListParams(ListParams):
    ListName = Text(missing=2, max=255, doc="The new name")


@command(
    "EmailGateway.AddList",
    summary="Add a list for the TargetListID of a send",
    params=AddListParams,
    errors={1: "Missing required parameter: ListName"},
    answer={"NewListID": "3", "List": {**_EXAMPLE, "ActiveSubscribers": 0, "UnsubscribedSubscribers": 0}},
)
def add_list(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    made = lists.add(caller=caller, name=params["ListName"])
    return {"NewListID": made.id if caller.options.get("numeric_ids") else str(made.id), "List": _shown(made)}


@command(
    "EmailGateway.GetLists",
    summary="List the lists of the account with their numbers of subscribers",
    params=GetListsParams,
    answer={"Lists": [_EXAMPLE], "TotalRecords": 1},
)
def get_lists(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found, total = lists.list_(
        caller=caller, start=params.get("StartFrom", 0), count=params.get("RetrieveCount", lists.MOST_LISTED)
    )
    return {"Lists": [_shown(one) for one in found], "TotalRecords": total}


@command(
    "EmailGateway.UpdateList",
    summary="Give a list another name",
    params=UpdateListParams,
    errors={
        1: "Missing required parameter: ListID",
        2: "Missing required parameter: ListName",
        3: "List not found",
    },
    refusals={errors.NotFound: 3},
    answer={"List": _EXAMPLE},
)
def update_list(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"List": _shown(lists.update(caller=caller, list_id=params["ListID"], name=params["ListName"]))}


@command(
    "EmailGateway.DeleteList",
    summary="Delete a list; what was accepted for it still goes to all of it",
    params=ListParams,
    errors={
        1: "Missing required parameter: ListID",
        2: "List not found",
        3: "A scheduled campaign or an automation uses the list",
    },
    refusals={errors.NotFound: 2, errors.ListInUse: 3},
)
def delete_list(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    lists.delete(caller=caller, list_id=params["ListID"])
    return {}


def _shown(one: MailList) -> dict[str, Any]:
    return {
        "ListID": str(one.id),
        "ListName": one.name,
        "ActiveSubscribers": one.active,
        "UnsubscribedSubscribers": one.unsubscribed,
        "CreatedAt": clock.sql_text(one.created_ms),
        "UpdatedAt": clock.sql_text(one.updated_ms),
    }
