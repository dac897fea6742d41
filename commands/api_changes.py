"""Taking sender keys away: DeleteAPI, and ReplaceAPI, which puts a new one in the old one's place."""

from __future__ import annotations

from typing import Any

from commands import apis as shown
from commands.registry import command
from commands.schema import Id, Params
from gateway import errors
from gateway.services import apis
from gateway.services.identity import Caller


class DeleteApiParams(Params):
    ApiKeyId = Id(missing=1, doc="The unique identifier for the API key to be deleted")


class ReplaceApiParams(Params):
    ApiKeyId = Id(missing=1, doc="The unique identifier for the API key to be replaced")


@command(
    "EmailGateway.DeleteAPI",
    summary="Delete an API key of a domain",
    params=DeleteApiParams,
    errors={1: "Missing required parameter: ApiKeyId", 2: "Invalid API key or API key not found"},
    refusals={errors.NotFound: 2},
    error_message=True,
)
def delete_api(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    apis.delete(caller=caller, key_id=params["ApiKeyId"])
    return {}


@command(
    "EmailGateway.ReplaceAPI",
    summary="Make a new API key in the place of an old one, which stops at once",
    params=ReplaceApiParams,
    errors={1: "Missing required parameter: ApiKeyId", 2: "Invalid API key or API key not found"},
    refusals={errors.NotFound: 2},
    answer={
        "NewAPIKeyID": "new-api-key-id",
        "APIKey": {
            "Key": "generated-api-key",
            "Permissions": "permissions-list",
            "DomainID": "123",
            "Description": "My API key",
        },
    },
)
def replace_api(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    key = apis.replace(caller=caller, key_id=params["ApiKeyId"])
    return {"NewAPIKeyID": shown.new_id(caller, key), "APIKey": shown.row(key)}
