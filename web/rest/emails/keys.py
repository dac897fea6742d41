"""`/api/v1/api-keys`: keys of the account, shown once, revoked at once."""

from __future__ import annotations

from typing import Any

from gateway import clock
from gateway.services import api_keys
from gateway.services.api_keys import Key
from gateway.services.identity import Caller
from web.rest import fields, paging
from web.rest.emails.operation import operation
from web.rest.surface import Answer

EXAMPLE = {
    "id": "0199a1b2-0000-7000-8000-000000000000", "name": "Production", "prefix": "ml_live_abcd", "environment": "live",
    "status": "active", "createdAt": "2025-01-15T10:30:00.000Z", "lastUsedAt": None,
}  # fmt: skip


class _Create(fields.Params):
    name = fields.Text(max=255, min=1, required=True, doc='What it is for, e.g. "Production"')
    environment = fields.Text(choices=("live", "test"), load_default=None, doc="A test key sends nothing")


@operation(
    "GET", "/api-keys", permission="read:keys", summary="List API keys", params=fields.Listing,
    answer={"data": [EXAMPLE], "hasMore": False, "nextCursor": None},
)  # fmt: skip
def list_api_keys(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    rows = api_keys.list_(caller=caller, after_id=paging.last_id(params["cursor"]), count=params["limit"] + 1)
    some, more = rows[: params["limit"]], len(rows) > params["limit"]
    return {
        "data": [_shown(key) for key in some],
        "hasMore": more,
        "nextCursor": paging.cursor(some[-1].id) if more else None,
    }


@operation(
    "POST", "/api-keys", permission="write:keys", summary="Create an API key, which is shown this once", params=_Create,
    answer=EXAMPLE | {"key": "ml_live_…"}, status=201,
)  # fmt: skip
def create_api_key(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """A test key makes test keys only."""
    wanted = params["environment"]
    live = None if wanted is None else wanted == "live"
    made = api_keys.add(caller=caller, name=params["name"], live=live, surface="maillayer")
    return _shown(made.key) | {"key": made.text}


@operation("DELETE", "/api-keys/<key_id>", permission="write:keys", summary="Revoke an API key", status=204)
def revoke_api_key(caller: Caller, params: dict[str, Any], key_id: str) -> Answer:
    """It stops within a second everywhere, and for good."""
    api_keys.revoke(caller=caller, key_id=key_id)
    return Answer(None)


def _shown(key: Key) -> dict[str, Any]:
    return {
        "id": str(key.uuid), "name": key.name, "prefix": key.prefix, "environment": "live" if key.live else "test",
        "status": key.status, "createdAt": clock.rfc3339_ms(key.created_ms),
        "lastUsedAt": clock.rfc3339_ms(key.used_ms) if key.used_ms is not None else None,
    }  # fmt: skip
