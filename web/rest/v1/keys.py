"""`/v1/keys`: API keys, shown once, listed by prefix, scoped, rotated with an overlap, counted."""

from __future__ import annotations

from typing import Any

from gateway import clock
from gateway.services import api_keys
from gateway.services.api_keys import Key, Made
from gateway.services.identity import Caller
from models.vocabulary import V1_SCOPES
from web.rest import fields, paging
from web.rest.v1.operation import Answer, operation

READ, WRITE = "read:keys", "write:keys"
DIALECTS = ("mailersio", "octeth")
ENVIRONMENTS = ("live", "test")
_EXAMPLE: dict[str, Any] = {
    "id": "key_01KPZ3N8V4E0R2Y7T6W9Q5B1CD",
    "name": "prod-api-worker",
    "prefix": "mio_live_Ab3dE9xY",
    "status": "active",
    "scopes": ["send", "read:messages"],
    "domains": ["acme.com"],
    "environment": "live",
    "service": "worker",
    "strict": False,
    "surface": "mailersio",
    "created_at": "2026-04-19T10:24:11Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
    "usage": {"days": api_keys.USAGE_DAYS, "calls": 0, "sends": 0},
}
_MADE = _EXAMPLE | {"key": "mio_live_Ab3dE9xY4mNpQ2rStUvW6zBcDfGhJkLmNpQrStUvW"}


class _Add(fields.Params):
    name = fields.Text(max=255, min=1, required=True, doc="What the key is called in lists")
    scopes = fields.Words(
        most=100, choices=V1_SCOPES, load_default=list, doc="What it may do; without any what the asking key may"
    )
    domains = fields.Words(
        most=1000, load_default=list, doc="Names or ids of sending domains it is of; without any the asking key's"
    )
    environment = fields.Text(
        choices=ENVIRONMENTS, doc="`test`: everything is checked and recorded, nothing is delivered"
    )
    service = fields.Text(max=64, load_default="", doc="The service that uses it")
    strict = fields.Flag(load_default=False, doc="Refuse unknown fields instead of warning of them")
    expires_at = fields.Moment(allow_none=True, doc="When it stops")


class _Listing(fields.Listing):
    status = fields.Text(choices=api_keys.STATUSES, doc="Only keys of this status")
    service = fields.Text(max=64, load_default="", doc="Only keys of this service")


class _Show(fields.Params):
    days = fields.Whole(low=1, high=366, load_default=api_keys.USAGE_DAYS, doc="Days of use to show")


class _Change(fields.Params):
    name = fields.Text(max=255, min=1)
    scopes = fields.Words(most=100, choices=V1_SCOPES)
    service = fields.Text(max=64)
    strict = fields.Flag()
    expires_at = fields.Moment(allow_none=True, doc="When it stops; null: never")


class _Rotate(fields.Params):
    overlap_hours = fields.Whole(
        low=0, high=api_keys.OVERLAP_MOST, load_default=24, doc="How long the old key works on; 0 stops it at once"
    )


@operation(
    "GET", "/keys", permission=READ, summary="List API keys, the newest first", params=_Listing, dialects=DIALECTS,
    answer={"data": [_EXAMPLE], "has_more": False, "next_cursor": None}, several=True,
)  # fmt: skip
def list_keys(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = api_keys.list_(
        caller=caller,
        status=params.get("status", ""),
        service=params["service"].strip(),
        after_id=paging.last_id(params["cursor"]),
        count=params["limit"] + 1,
    )
    return paging.page(found, params["limit"], lambda key: paging.cursor(key.id), shown)


@operation(
    "POST", "/keys", permission=WRITE, summary="Make an API key; its text is shown once", params=_Add,
    dialects=DIALECTS, answer=_MADE, status=201, several=True,
)  # fmt: skip
def add_key(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    made = api_keys.add(
        caller=caller,
        name=params["name"],
        scopes=params["scopes"],
        domain_names=params["domains"],
        live=params["environment"] == "live" if "environment" in params else None,
        strict=params["strict"],
        service=params["service"],
        expires_ms=params.get("expires_at"),
    )
    return _made(made)


@operation(
    "GET", "/keys/<key_id>", permission=READ, summary="Show an API key and its use by day", params=_Show,
    dialects=DIALECTS, answer=_EXAMPLE | {"usage_by_day": [{"date": "2026-04-19", "calls": 1, "sends": 1}]},
    several=True,
)  # fmt: skip
def show_key(caller: Caller, params: dict[str, Any], key_id: str) -> dict[str, Any]:
    key = api_keys.find(caller=caller, key_id=key_id)
    by_day = api_keys.usage(caller=caller, key_id=key_id, days=params["days"])
    return shown(key) | {
        "usage_by_day": [
            {"date": clock.rfc3339(day.day * clock.DAY_MS)[:10], "calls": day.calls, "sends": day.sends}
            for day in by_day
        ]
    }


@operation(
    "PATCH", "/keys/<key_id>", permission=WRITE, summary="Change an API key", params=_Change, dialects=DIALECTS,
    answer=_EXAMPLE, several=True,
)  # fmt: skip
def change_key(caller: Caller, params: dict[str, Any], key_id: str) -> dict[str, Any]:
    changes = {("expires_ms" if name == "expires_at" else name): value for name, value in params.items()}
    return shown(api_keys.update(caller=caller, key_id=key_id, changes=changes))


@operation(
    "DELETE", "/keys/<key_id>", permission=WRITE, summary="Revoke an API key", dialects=DIALECTS, status=204,
    several=True,
)  # fmt: skip
def revoke_key(caller: Caller, params: dict[str, Any], key_id: str) -> Answer:
    """It stops within a second everywhere, and stays in the list."""
    api_keys.revoke(caller=caller, key_id=key_id)
    return Answer(None)


@operation(
    "POST", "/keys/<key_id>/rotate", permission=WRITE, params=_Rotate, dialects=DIALECTS, status=201, several=True,
    summary="Make a key's successor, shown once; the old one works on for a while",
    answer=_MADE | {"rotated": _EXAMPLE | {"status": "rotating", "expires_at": "2026-04-20T10:24:11Z"}},
)  # fmt: skip
def rotate_key(caller: Caller, params: dict[str, Any], key_id: str) -> dict[str, Any]:
    made, old = api_keys.rotate(caller=caller, key_id=key_id, overlap_hours=params["overlap_hours"])
    return _made(made) | {"rotated": shown(old)}


def _made(made: Made) -> dict[str, Any]:
    return shown(made.key) | {"key": made.text}


def shown(key: Key) -> dict[str, Any]:
    """Without its text. Empty `scopes` are all, empty `domains` the whole account."""
    return {
        "id": key.public_id,
        "name": key.name,
        "prefix": key.prefix,
        "status": key.status,
        "scopes": key.scopes,
        "domains": key.domains,
        "environment": "live" if key.live else "test",
        "service": key.service,
        "strict": key.strict,
        "surface": key.surface,
        "created_at": clock.rfc3339(key.created_ms),
        "expires_at": _time(key.expires_ms),
        "revoked_at": _time(key.revoked_ms),
        "last_used_at": _time(key.used_ms),
        "usage": {"days": api_keys.USAGE_DAYS, "calls": key.calls, "sends": key.sends},
    }


def _time(ms: int | None) -> str | None:
    return None if ms is None else clock.rfc3339(ms)
