"""Sender API keys: AddAPI and GetAPIs."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Id, Params, Text, Texts
from gateway import clock, errors
from gateway.services import apis
from gateway.services.identity import Caller

_DEFAULTS = ("ListID", "SubscriberID", "JourneyID", "ActionID")


class AddApiParams(Params):
    Description = Text(
        missing=1,
        invalid=1,
        max=255,
        doc="A brief description of the API key's intended use",
        example="Shop, production",
    )
    DomainID = Id(missing=2, doc="The unique identifier for the domain")
    ListID = Text(required=False, max=64, doc="The list ID of the target subscriber")
    SubscriberID = Text(required=False, max=64, doc="The subscriber ID of the subscriber the emails belong to")
    JourneyID = Text(required=False, max=64, doc="The journey ID the emails are sent by")
    ActionID = Text(required=False, max=64, doc="The action ID of the journey the emails are sent by")
    Permissions = Texts(
        required=False, doc="What the key is limited to, such as send or read:events; without it, nothing is refused"
    )


class GetApisParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain")


@command(
    "EmailGateway.AddAPI",
    summary="Add an API key to a domain",
    params=AddApiParams,
    errors={
        1: "Missing or invalid 'Description' parameter",
        2: "Missing or invalid 'DomainID' parameter",
        3: "Unable to retrieve sender domain with provided 'DomainID'",
    },
    refusals={errors.NotFound: 3},
    answer={
        "NewAPIKeyID": "new-api-key-id",
        "APIKey": {
            "Key": "generated-api-key",
            "Permissions": "permissions-list",
            "DomainID": "123",
            "Description": "My new API key",
        },
    },
)
def add_api(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    key = apis.add(
        caller=caller,
        domain_id=params["DomainID"],
        description=params["Description"].strip(),
        defaults={name: params[name] for name in _DEFAULTS if name in params},
        permissions=[] if params.get("Permissions") == [apis.ALL] else params.get("Permissions", ()),
    )
    return {
        "NewAPIKeyID": new_id(caller, key),
        "APIKey": row(key),
    }


@command(
    "EmailGateway.GetAPIs",
    summary="List the API keys of a domain",
    params=GetApisParams,
    errors={1: "Missing required parameter: DomainID", 2: "Unable to retrieve sender domain"},
    refusals={errors.NotFound: 2},
    answer={
        "APIKeys": [
            {
                "KeyID": "key-id",
                "DomainID": "domain-id",
                "UserID": "user-id",
                "Key": "api-key",
                "Permissions": "permissions",
                "CreationDate": "creation-date",
                "LastUsedDate": "last-used-date",
            }
        ]
    },
)
def get_apis(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"APIKeys": [row(key) for key in apis.list_(caller=caller, domain_id=params["DomainID"])]}


def new_id(caller: Caller, key: apis.SenderKey) -> str | int:
    """The `NewAPIKeyID` of an answer: a text, or a number for accounts that chose so."""
    return key.id if caller.options.get("numeric_ids") else str(key.id)


def row(key: apis.SenderKey) -> dict[str, Any]:
    """Both documents' names; a key that was never used has an empty `LastUsedDate`."""
    created = clock.sql_text(key.created_ms)
    return {
        "KeyID": str(key.id),
        "APIKeyID": str(key.id),
        "DomainID": str(key.domain_id),
        "UserID": str(key.account_id),
        "Key": key.key,
        "APIKey": key.key,
        "Permissions": key.permissions,
        "Description": key.description,
        **{name: key.defaults.get(name, "") for name in _DEFAULTS},
        "Status": "Active",
        "CreationDate": created,
        "CreatedAt": created,
        "LastUsedDate": clock.sql_text(key.used_ms) if key.used_ms is not None else "",
    }
