"""The allow-list: GetAllowList, AddAllowed and DeleteAllowed."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Id, Params, Text, Whole
from gateway import clock, errors
from gateway.services import allow_list
from gateway.services.identity import Caller

_ADDRESS_DOC = "An address, or @example.com for all of that very domain"
_SCOPE_DOC = "The sender domain it holds for; without one the whole account"


class GetAllowListParams(Params):
    DomainID = Id(required=False, doc="A sender domain: what holds for it, the rows of the whole account too")
    StartFrom = Whole(required=False, doc="How many rows to skip")
    RetrieveCount = Whole(required=False, low=1, high=100, clamp=True, doc="How many to return, at most 100")


class AddAllowedParams(Params):
    EmailAddress = Text(missing=1, max=320, doc=_ADDRESS_DOC)
    DomainID = Id(required=False, doc=_SCOPE_DOC)
    Note = Text(required=False, max=255, doc="Why")


class DeleteAllowedParams(Params):
    EmailAddress = Text(missing=1, max=320, doc=_ADDRESS_DOC)
    DomainID = Id(required=False, doc=_SCOPE_DOC)


_ERRORS = {
    1: "Missing required parameter: EmailAddress",
    2: "EmailAddress is neither an address nor @ and a domain",
    3: "Failed to retrieve sender domain",
}
_REFUSALS: dict[type[errors.GatewayError], int] = {errors.InvalidAddress: 2, errors.NotFound: 3}


@command(
    "EmailGateway.GetAllowList",
    summary="List the addresses that bounces and complaints never suppress",
    params=GetAllowListParams,
    errors={1: "Failed to retrieve sender domain"},
    refusals={errors.NotFound: 1},
    answer={
        "Allowed": [
            {
                "EmailAddress": "@example.com",
                "DomainID": "",
                "Domain": "",
                "Note": "our own people",
                "CreatedAt": "2026-01-01 12:00:00",
            }
        ],
        "TotalRecords": 1,
    },
)
def get_allow_list(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found, total = allow_list.list_(
        caller=caller,
        domain_id=params.get("DomainID"),
        start=params.get("StartFrom", 0),
        count=params.get("RetrieveCount", allow_list.MOST_LISTED),
    )
    rows = [
        {
            "EmailAddress": row.address,
            "DomainID": str(row.domain_id) if row.domain_id else "",
            "Domain": row.domain,
            "Note": row.note,
            "CreatedAt": clock.sql_text(row.created_ms),
        }
        for row in found
    ]
    return {"Allowed": rows, "TotalRecords": total}


@command(
    "EmailGateway.AddAllowed",
    summary="Never suppress an address by a rule; what people decide, by hand or by unsubscribing, still holds",
    params=AddAllowedParams,
    errors=_ERRORS,
    refusals=_REFUSALS,
    answer={"Lifted": 1},
)
def add_allowed(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    lifted = allow_list.add(
        caller=caller, address=params["EmailAddress"], domain_id=params.get("DomainID"), note=params.get("Note", "")
    )
    return {"Lifted": lifted}


@command(
    "EmailGateway.DeleteAllowed",
    summary="Take an address off the allow-list; rules suppress it again from now on",
    params=DeleteAllowedParams,
    errors={**_ERRORS, 4: "The address is not on the list"},
    refusals={**_REFUSALS, errors.EntryNotFound: 4},
)
def delete_allowed(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    allow_list.remove(caller=caller, address=params["EmailAddress"], domain_id=params.get("DomainID"))
    return {}
