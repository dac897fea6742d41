"""`/suppressions` (bounces, complaints, by hand), their `/allow-list`, and `/unsubscribes`: who is not written to."""

from __future__ import annotations

from typing import Any

from gateway import clock, config, errors
from gateway.services import allow_list, scoped_suppressions, suppressions
from gateway.services.identity import Caller
from gateway.services.scoped_suppressions import ACCOUNT, DOMAIN, Listed, New, Scope
from web.rest import fields, paging
from web.rest.customer.domains import find
from web.rest.customer.operation import Answer, operation

_TYPES = {"hard": suppressions.BOUNCE, "soft": suppressions.BOUNCE, "complaint": suppressions.COMPLAINT,
          "manual": suppressions.MANUAL}  # fmt: skip
"""A soft one ends by itself: strikes led to it, or somebody said so."""
ENTRY = {
    "id": 17, "email": "jane@example.org", "type": "hard", "reason": "550 5.1.1 no such user", "scope": "global",
    "domain": None, "created_at": "2026-01-23T10:00:00.000Z", "expires_at": None,
}  # fmt: skip
_LEFT = {name: ENTRY[name] for name in ("id", "email", "scope", "domain", "created_at")}


class _List(fields.Listing):
    email = fields.Text(max=320, load_default="")
    type = fields.Text(choices=("", *_TYPES), load_default="")
    domain_id = fields.Text(max=64, load_default="", doc="Those of one domain")


class _Add(fields.Params):
    email = fields.Text(max=320, min=1, required=True)
    domain_id = fields.Text(max=64, load_default=None, allow_none=True, doc="Without it for all domains")
    type = fields.Text(choices=tuple(_TYPES), load_default="manual")
    reason = fields.Text(max=1000, load_default="")


class _Remove(fields.Params):
    domain_id = fields.Text(max=64, load_default="", doc="Without it for all domains")


class _Leave(fields.Params):
    email = fields.Text(max=320, min=1, required=True)
    domain_id = fields.Text(max=64, load_default=None, allow_none=True, doc="Without it from all domains")


class _Allow(fields.Params):
    email = fields.Text(max=320, min=1, required=True, doc="An address, or @domain")
    domain_id = fields.Text(max=64, load_default=None, allow_none=True)
    note = fields.Text(max=255, load_default="")


@operation(
    "GET", "/suppressions", permission="read:suppressions", summary="List suppressions", params=_List,
    answer={"suppressions": [ENTRY], "has_more": False, "next_cursor": None},
)  # fmt: skip
def list_customer_suppressions(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """Bounces, complaints and those by hand; who unsubscribed stands under `/unsubscribes`."""
    wanted = params["type"]
    page = _page(caller, params, reason=_TYPES.get(wanted, ""))
    rows = [row for row in page if row.reason != suppressions.UNSUBSCRIBE and wanted in ("", _type(row))]
    return _listed("suppressions", page, rows, params["limit"], shown)


@operation(
    "POST", "/suppressions", permission="write:suppressions", summary="Suppress an address", params=_Add, answer=ENTRY,
    status=201,
)  # fmt: skip
def add_customer_suppression(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """A soft one holds as long as one that strikes led to."""
    held_ms = config.settings().strike_hold_days * clock.DAY_MS
    new = New(
        params["email"], reason=_TYPES[params["type"]], scope=_scope(caller, params["domain_id"]),
        detail=params["reason"], expires_ms=clock.now_ms() + held_ms if params["type"] == "soft" else None,
    )  # fmt: skip
    return shown(_put(caller, new))


@operation(
    "DELETE", "/suppressions/<email>", permission="write:suppressions", summary="Take an address off", params=_Remove,
    answer={"message": "Suppression removed"},
)  # fmt: skip
def remove_customer_suppression(caller: Caller, params: dict[str, Any], email: str) -> Answer:
    scope = _scope(caller, params["domain_id"])
    removed = 0
    for reason in (suppressions.BOUNCE, suppressions.COMPLAINT, suppressions.MANUAL):
        try:
            removed += scoped_suppressions.delete_address(caller=caller, email=email, scope=scope, reason=reason)
        except errors.EntryNotFound:
            continue
    if not removed:
        raise errors.EntryNotFound(what="suppression")
    return Answer({"message": "Suppression removed"})


@operation(
    "GET", "/unsubscribes", permission="read:suppressions", summary="List who unsubscribed", params=_List,
    answer={"unsubscribes": [_LEFT], "has_more": False, "next_cursor": None},
)  # fmt: skip
def list_unsubscribes(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    page = _page(caller, params, reason=suppressions.UNSUBSCRIBE)
    return _listed("unsubscribes", page, page, params["limit"], _left)


@operation(
    "POST", "/unsubscribes", permission="write:suppressions", summary="Unsubscribe an address", params=_Leave,
    answer=_LEFT, status=201,
)  # fmt: skip
def add_unsubscribe(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    scope = _scope(caller, params["domain_id"])
    return _left(_put(caller, New(params["email"], reason=suppressions.UNSUBSCRIBE, scope=scope)))


@operation(
    "DELETE", "/unsubscribes/<email>", permission="write:suppressions", summary="Subscribe an address again",
    params=_Remove, answer={"message": "Unsubscribe removed"},
)  # fmt: skip
def remove_unsubscribe(caller: Caller, params: dict[str, Any], email: str) -> Answer:
    scope = _scope(caller, params["domain_id"])
    scoped_suppressions.delete_address(caller=caller, email=email, scope=scope, reason=suppressions.UNSUBSCRIBE)
    return Answer({"message": "Unsubscribe removed"})


@operation(
    "GET", "/suppressions/allow-list", permission="read:suppressions", summary="List what no rule suppresses",
    params=fields.Listing, answer={"allow_list": [{"email": "vip@example.org", "note": ""}], "has_more": False,
                                   "next_cursor": None},
)  # fmt: skip
def list_allowed(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    rows = allow_list.page(caller=caller, count=params["limit"] + 1, after=paging.last_id(params["cursor"]))
    found = paging.page(
        rows, params["limit"], lambda row: paging.cursor(row.id), lambda row: {"email": row.address, "note": row.note}
    )
    return {"allow_list": found.pop("data"), **found}


@operation(
    "POST", "/suppressions/allow-list", permission="write:suppressions",
    summary="Allow an address, and lift what rules did", params=_Allow,
    answer={"email": "vip@example.org", "lifted": 1}, status=201,
)  # fmt: skip
def add_allowed(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    domain_id = find(caller, params["domain_id"]).id if params["domain_id"] else None
    lifted = allow_list.add(caller=caller, address=params["email"], domain_id=domain_id, note=params["note"])
    return {"email": params["email"].strip().lower(), "lifted": lifted}


@operation(
    "DELETE", "/suppressions/allow-list/<email>", permission="write:suppressions", summary="Allow it no more",
    params=_Remove, answer={"message": "Removed from the allow-list"},
)  # fmt: skip
def remove_allowed(caller: Caller, params: dict[str, Any], email: str) -> Answer:
    domain_id = find(caller, params["domain_id"]).id if params["domain_id"] else None
    allow_list.remove(caller=caller, address=email, domain_id=domain_id)
    return Answer({"message": "Removed from the allow-list"})


def shown(row: Listed) -> dict[str, Any]:
    return _left(row) | {
        "type": _type(row), "reason": row.detail or row.rule,
        "expires_at": clock.rfc3339_ms(row.expires_ms) if row.expires_ms is not None else None,
    }  # fmt: skip


def _left(row: Listed) -> dict[str, Any]:
    return {
        "id": row.id, "email": row.address, "scope": "global" if row.scope == ACCOUNT else row.scope,
        "domain": row.domain or None, "created_at": clock.rfc3339_ms(row.created_ms),
    }  # fmt: skip


def _type(row: Listed) -> str:
    if row.reason == suppressions.BOUNCE:
        return "soft" if row.expires_ms is not None else "hard"
    return row.reason


def _scope(caller: Caller, domain_id: str | None) -> Scope:
    return Scope(DOMAIN, domain=find(caller, domain_id).name) if domain_id else Scope()


def _put(caller: Caller, new: New) -> Listed:
    (result,) = scoped_suppressions.put(caller=caller, new=[new])
    if result.refusal is not None:
        raise result.refusal
    if result.row is None:
        raise errors.EntryNotFound(what="suppression")
    return result.row


def _page(caller: Caller, params: dict[str, Any], *, reason: str) -> list[Listed]:
    scope = Scope(domain=find(caller, params["domain_id"]).name) if params["domain_id"] else Scope()
    return scoped_suppressions.page(
        caller=caller, count=params["limit"] + 1, before=paging.last_id(params["cursor"]), scope=scope,
        email=params["email"], reason=reason,
    )  # fmt: skip


def _listed(name: str, page: list[Listed], rows: list[Listed], limit: int, show: Any) -> dict[str, Any]:
    """The rows of a page that are shown: a page may be short where few of it are."""
    more = len(page) > limit
    some = page[:limit]
    kept = {row.id for row in some}
    return {
        name: [show(row) for row in rows if row.id in kept],
        "has_more": more,
        "next_cursor": paging.cursor(some[-1].id) if more else None,
    }
