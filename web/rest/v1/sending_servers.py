"""`/v1/sending-servers`: the relays and providers that an account has connected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway import clock
from gateway.services import provider_hooks, routing_tables, sending_servers, server_checks, server_kinds
from gateway.services.identity import Caller
from gateway.services.sending_servers import SendingServer
from web.rest import fields, paging
from web.rest.v1.operation import Answer, operation

DIALECTS = {"mailersio", "octeth"}
EXAMPLE: dict[str, Any] = {
    "id": "srv_01K0Q4T2X8Z3V5N7B9C1D3F5G7",
    "name": "SES Ireland",
    "provider": "amazon-ses",
    "kind": "ses",
    "status": "active",
    "config": {"region": "eu-west-1"},
    "credentials_set": ["access_key_id", "secret_access_key"],
    "priority": 10,
    "weight": 70,
    "quotas": {"per_second": 14, "per_minute": None, "per_hour": None, "per_day": 50_000},
    "usage": {"per_second": 0, "per_minute": None, "per_hour": None, "per_day": 9_120},
    "reports": True,
    "hook_url": "https://gateway.example.com/hooks/ses/srv_01K0Q4T2X8Z3V5N7B9C1D3F5G7",
    "last_event_at": "2026-04-19T10:24:11Z",
    "paused_until": None,
    "paused_reason": None,
    "created_at": "2026-04-01T08:00:00Z",
    "updated_at": "2026-04-01T08:00:00Z",
}
_CONFIG = {"host", "port", "tls", "region", "domain", "endpoint"}
_SECRETS = {"username", "password", "api_key"}
_OBJECT = {"type": "object"}
_QUOTA = {"type": ["integer", "null"], "minimum": 1}
_KINDS = ", ".join((*server_kinds.KINDS, "amazon-ses"))


class _Numbers(fields.Params):
    priority = fields.Whole(high=sending_servers.PRIORITY_MOST, doc="The lowest goes first; 10 unless it is given")
    weight = fields.Whole(
        high=sending_servers.WEIGHT_MOST,
        doc="Its share among servers of one priority; 0: only what a rule or a request sends it",
    )
    quotas = fields.Anything(
        shape={"type": "object", "properties": dict.fromkeys(sending_servers.QUOTAS, _QUOTA)},
        doc="Messages in a second, minute, hour and day of UTC; null: without limit",
    )
    reports = fields.Flag(doc="Whether the provider's events come to its hook, so that delivered is what it says")
    config = fields.Anything(shape=_OBJECT, doc="The options of the kind; see docs/routing.md")
    credentials = fields.Anything(shape=_OBJECT, doc="The secrets of the kind; they are never shown again")
    host = fields.Text(max=255, doc="As in `config`")
    port = fields.Whole(low=1, high=65_535, doc="As in `config`")
    tls = fields.Text(max=20, doc="As in `config`")
    region = fields.Text(max=40, doc="As in `config`")
    domain = fields.Text(max=255, doc="As in `config`")
    endpoint = fields.Text(max=512, doc="As in `config`")
    username = fields.Text(max=4000, doc="As in `credentials`")
    password = fields.Text(max=4000, doc="As in `credentials`")
    api_key = fields.Text(max=4000, doc="As in `credentials`")


class _Add(_Numbers):
    name = fields.Text(max=100, doc="What people call it; the provider unless it is given")
    provider = fields.Text(max=40, doc=f"One of {_KINDS}")
    kind = fields.Text(max=40, doc="Another word for `provider`")
    type = fields.Text(max=40, doc="Another word for `provider`")
    status = fields.Text(choices=sending_servers.STATUSES, load_default="active", doc="A paused one takes nothing")


class _Change(_Numbers):
    name = fields.Text(max=100, min=1, doc="What people call it")
    status = fields.Text(choices=sending_servers.STATUSES, doc="A paused one takes nothing")


class _Listing(fields.Listing):
    provider = fields.Text(choices=(*server_kinds.KINDS, "amazon-ses"), doc="Only those of it")
    status = fields.Text(choices=sending_servers.STATUSES, doc="Only those of this status")


@operation(
    "GET", "/sending-servers", permission="read:sending-servers", summary="List connected providers and SMTP servers",
    params=_Listing, answer={"data": [EXAMPLE], "has_more": False, "next_cursor": None}, dialects=DIALECTS,
)  # fmt: skip
def list_sending_servers(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    limit = params["limit"]
    rows = sending_servers.list_(
        caller=caller,
        after=paging.last_id(params["cursor"]),
        count=limit + 1,
        kind=server_kinds.kind_of(params.get("provider", "")) or "",
        status=params.get("status", ""),
    )
    known = dict(zip((row.id for row in rows), _shown(caller, rows), strict=True))
    return paging.page(rows, limit, lambda row: paging.cursor(row.id), lambda row: known[row.id])


@operation(
    "POST", "/sending-servers", permission="write:sending-servers", summary="Connect a provider or an SMTP server",
    params=_Add, answer=EXAMPLE, status=201, dialects=DIALECTS,
)  # fmt: skip
def create_sending_server(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    kind = params.get("provider") or params.get("kind") or params.get("type") or ""
    numbers = {name: params[name] for name in ("priority", "weight", "reports") if name in params}
    made = sending_servers.create(
        caller=caller,
        name=params.get("name") or kind,
        kind=kind,
        status=params["status"],
        config=_object(params, "config", _CONFIG),
        credentials=_object(params, "credentials", _SECRETS),
        quotas=fields.mapping(params.get("quotas"), "quotas"),
        **numbers,
    )
    return _shown(caller, [made])[0]


@operation(
    "GET", "/sending-servers/<server_id>", permission="read:sending-servers", summary="Show a sending server",
    answer=EXAMPLE, dialects=DIALECTS,
)  # fmt: skip
def get_sending_server(caller: Caller, params: dict[str, Any], server_id: str) -> dict[str, Any]:
    return _shown(caller, [sending_servers.find(caller=caller, server_id=server_id)])[0]


@operation(
    "PATCH", "/sending-servers/<server_id>", permission="write:sending-servers",
    summary="Change a sending server; what waits for it is looked at again", params=_Change, answer=EXAMPLE,
    dialects=DIALECTS,
)  # fmt: skip
def update_sending_server(caller: Caller, params: dict[str, Any], server_id: str) -> dict[str, Any]:
    """Options that are given one by one change alone; `config` replaces them all. Credentials change one by one."""
    names = ("name", "status", "priority", "weight", "reports")
    changes: dict[str, Any] = {name: params[name] for name in names if name in params}
    changes["quotas"] = fields.mapping(params.get("quotas"), "quotas")
    changes["credentials"] = _object(params, "credentials", _SECRETS)
    config = _object(params, "config", _CONFIG)
    if config and "config" not in params:
        config = {**sending_servers.find(caller=caller, server_id=server_id).config, **config}
    changes["config"] = config if config or "config" in params else None
    return _shown(caller, [sending_servers.update(caller=caller, server_id=server_id, changes=changes)])[0]


@operation(
    "DELETE", "/sending-servers/<server_id>", permission="write:sending-servers",
    summary="Disconnect a sending server, unless a routing rule names it", status=204, dialects=DIALECTS,
)  # fmt: skip
def delete_sending_server(caller: Caller, params: dict[str, Any], server_id: str) -> Answer:
    sending_servers.delete(caller=caller, server_id=server_id)
    return Answer(None, 204)


@operation(
    "POST", "/sending-servers/<server_id>/test", permission="write:sending-servers",
    summary="Connect and check the credentials without sending anything", dialects=DIALECTS,
    answer={"ok": True, "detail": "the server answers and takes our login", "remote": "smtp.example.net[192.0.2.1]:587",
            "tls": "TLSv1.3", "duration_ms": 41},
)  # fmt: skip
def try_sending_server(caller: Caller, params: dict[str, Any], server_id: str) -> dict[str, Any]:
    found = server_checks.check(caller=caller, server_id=server_id)
    return {
        "ok": found.ok, "detail": found.detail, "remote": found.remote or None, "tls": found.tls or None,
        "duration_ms": found.ms,
    }  # fmt: skip


def _object(params: dict[str, Any], name: str, flat: set[str]) -> dict[str, Any]:
    """An object, and over it what was given beside it."""
    found = dict(fields.mapping(params.get(name), name))
    found.update({key: params[key] for key in flat if key in params})
    return found


def _shown(caller: Caller, servers: Sequence[SendingServer]) -> list[dict[str, Any]]:
    usage = sending_servers.used(caller=caller, servers=list(servers))
    table = routing_tables.committed(caller.account_id)
    return [_one(server, usage[server.id], table) for server in servers]


def _one(server: SendingServer, usage: dict[str, int | None], table: routing_tables.Table | None) -> dict[str, Any]:
    pause = table.broken.get(server.id) if table is not None else None
    if pause is not None and not pause.is_active(clock.now_ms()):
        pause = None
    return {
        "id": server.public_id,
        "name": server.name,
        "provider": server_kinds.provider_word(server.kind),
        "kind": server.kind,
        "status": server.status,
        "config": server.config,
        "credentials_set": server.secrets,
        "priority": server.priority,
        "weight": server.weight,
        "quotas": server.quotas,
        "usage": usage,
        "reports": server.reports,
        "hook_url": provider_hooks.url(server) or None,
        "last_event_at": clock.rfc3339(server.hook_seen_ms) if server.hook_seen_ms is not None else None,
        "paused_until": clock.rfc3339(pause.ends_ms) if pause is not None and pause.ends_ms is not None else None,
        "paused_reason": pause.cause if pause is not None else None,
        "created_at": clock.rfc3339(server.created_ms),
        "updated_at": clock.rfc3339(server.updated_ms),
    }
