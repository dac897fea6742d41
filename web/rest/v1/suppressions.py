"""`/v1/suppressions`: who must not be written to, by the account, by a domain, or as one of a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma

from gateway import clock, errors, ids
from gateway.services import allow_list, domains, scoped_suppressions, suppressions
from gateway.services.allow_list import Allowed
from gateway.services.identity import Caller
from gateway.services.scoped_suppressions import Listed, New, Put, Scope
from web.rest import fields, paging, refusals
from web.rest.v1.operation import Answer, operation

_DIALECTS = ("mailersio", "octeth")
_ONE = {
    "id": "sup_01KH8N3QZJ70080000000000XQ",
    "email": "jane@example.com",
    "reason": "unsubscribe",
    "scope": "list",
    "domain": None,
    "list_id": "lst_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "detail": "",
    "rule": "unsubscribe:list",
    "message_id": None,
    "created_at": "2026-04-19T10:24:11Z",
    "expires_at": None,
}
_ALLOWED = {
    "email": "@example.com",
    "domain": None,
    "note": "our own people",
    "created_at": "2026-04-19T10:24:11Z",
}
_WORDS = {
    "unsubscribed": suppressions.UNSUBSCRIBE,
    "bounced": suppressions.BOUNCE,
    "hard_bounce": suppressions.BOUNCE,
    "complained": suppressions.COMPLAINT,
    "spam": suppressions.COMPLAINT,
}
"""Other words for reasons, as events and other systems spell them."""

_SCOPES = dict.fromkeys(("global", "workspace"), scoped_suppressions.ACCOUNT) | {
    word: word for word in scoped_suppressions.SCOPES
}
"""What scopes are called; the whole account is also the workspace, and global."""

_REASONS = (*suppressions.REASONS, *_WORDS)
_KNOWN = frozenset({"email", "reason", "scope", "domain", "list_id", "detail", "expires_at"})


class _Where(fields.Params):
    scope = fields.Text(choices=_SCOPES, doc="For whose mail it holds; `global` and `workspace` are the account")
    domain = fields.Text(max=253, load_default="", doc="The name of a sending domain")
    list_id = fields.Text(max=64, load_default="", doc="The mail list")


class _List(_Where):
    limit = fields.Whole(low=1, high=paging.MOST, load_default=paging.DEFAULT)
    cursor = fields.Text(max=500, load_default="", doc="`next_cursor` of the page before")
    email = fields.Text(max=320, load_default="")
    reason = fields.Text(choices=_REASONS)
    since = fields.Moment(doc="Only what was suppressed since")


class _Put(_Where):
    email = fields.Text(max=320)
    emails = fields.Words(max=320, most=10_000, doc="Several addresses, up to 1,000, for one reason")
    reason = fields.Text(choices=_REASONS, load_default=suppressions.MANUAL)
    detail = fields.Text(max=suppressions.DETAIL_LENGTH, load_default="", doc="Words on it, such as the bounce")
    suppressions = fields.Anything(
        shape={
            "type": "array",
            "items": {"type": "object", "properties": {name: {} for name in sorted(_KNOWN)}},
            "maxItems": scoped_suppressions.MOST_AT_ONCE,
        },
        closed=True,
        doc="Up to 1,000 objects with the fields of one; what they leave out stands beside them",
    )
    expires_at = fields.Moment(doc="Until when; without it until it is taken off")


class _Delete(_Where):
    reason = fields.Text(choices=_REASONS, doc="Only what was suppressed for this reason; of an address")


class _Allow(fields.Params):
    email = fields.Text(max=320, min=1, required=True, doc="An address, or @ and a domain")
    domain = fields.Text(max=253, load_default="", doc="For the mail of one sending domain")
    note = fields.Text(max=255, load_default="")


class _Disallow(fields.Params):
    domain = fields.Text(max=253, load_default="")


@operation(
    "GET",
    "/suppressions",
    permission="read:suppressions",
    summary="List suppressions, the latest first",
    params=_List,
    answer={"data": [_ONE], "has_more": False, "next_cursor": None},
    dialects=_DIALECTS,
)
def list_suppressions(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    rows = scoped_suppressions.page(
        caller=caller,
        count=params["limit"] + 1,
        before=paging.last_id(params["cursor"]),
        scope=_scope(params),
        email=params["email"].strip(),
        reason=_reason(params.get("reason") or ""),
        since_ms=params.get("since"),
    )
    return paging.page(rows, params["limit"], lambda one: paging.cursor(one.id), _shown)


@operation(
    "POST",
    "/suppressions",
    permission="write:suppressions",
    summary="Suppress one address, or up to 1,000",
    params=_Put,
    answer={
        "results": [
            {"index": 0, "email": "jane@example.com", "result": "added", "suppression": _ONE},
            {
                "index": 1,
                "email": "nobody",
                "result": "failed",
                "error": {"code": "invalid_address", "message": "The email address is invalid.", "field": "email"},
            },
        ],
        "added": 1,
        "known": 0,
        "failed": 1,
    },
    dialects=_DIALECTS,
)
def put_suppressions(caller: Caller, params: dict[str, Any]) -> Answer:
    """One `email`: 201 with the suppression, 200 where it was there. Several: 200 with a result for each."""
    given = [name for name in ("email", "emails", "suppressions") if name in params]
    if len(given) != 1:
        raise errors.Invalid("email: Should be there, or emails, or suppressions instead.", field="email")
    if given == ["email"]:
        (result,) = scoped_suppressions.put(caller=caller, new=[_new(params, {})])
        if result.refusal is not None or result.row is None:  # taken off again by another this very moment
            raise result.refusal or errors.EntryNotFound(what="address")
        return Answer(_shown(result.row), 201 if result.is_new else 200)
    items = [{"email": one} for one in params["emails"]] if given == ["emails"] else params["suppressions"]
    if not isinstance(items, list) or not items:
        raise errors.Invalid(f"{given[0]}: Should be a list.", field=given[0])
    if len(items) > scoped_suppressions.MOST_AT_ONCE:
        raise errors.TooLarge(
            f"At most {scoped_suppressions.MOST_AT_ONCE} addresses are suppressed at once.", field=given[0]
        )
    results = scoped_suppressions.put(caller=caller, new=[_new(item, params) for item in items])
    body: dict[str, Any] = {"results": [_result(at, one) for at, one in enumerate(results)]}
    done = [one["result"] for one in body["results"]]
    return Answer(body | {word: done.count(word) for word in ("added", "known", "failed")})


@operation(
    "GET",
    "/suppressions/allowed",
    permission="read:suppressions",
    summary="List addresses and domains that no rule suppresses by itself",
    params=fields.Listing,
    answer={"data": [_ALLOWED], "has_more": False, "next_cursor": None},
    dialects=_DIALECTS,
)
def list_allowed(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    rows = allow_list.page(caller=caller, count=params["limit"] + 1, after=paging.last_id(params["cursor"]))
    return paging.page(rows, params["limit"], lambda one: paging.cursor(one.id), _allowed)


@operation(
    "POST",
    "/suppressions/allowed",
    permission="write:suppressions",
    summary="Have bounces and complaints suppress an address, or a whole domain, no more",
    params=_Allow,
    answer=_ALLOWED | {"lifted": 2},
    status=201,
    dialects=_DIALECTS,
)
def allow(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """What rules suppressed before is lifted; what people did stays."""
    domain_id = _domain(caller, params["domain"])
    lifted = allow_list.add(caller=caller, address=params["email"], domain_id=domain_id, note=params["note"])
    return _allowed(allow_list.find(caller=caller, address=params["email"], domain_id=domain_id)) | {"lifted": lifted}


@operation(
    "DELETE",
    "/suppressions/allowed/<email>",
    permission="write:suppressions",
    summary="Let rules suppress an address or domain again",
    params=_Disallow,
    status=204,
    dialects=_DIALECTS,
)
def disallow(caller: Caller, params: dict[str, Any], email: str) -> Answer:
    allow_list.remove(caller=caller, address=email, domain_id=_domain(caller, params["domain"]))
    return Answer(None)


@operation(
    "GET",
    "/suppressions/<suppression_id>",
    permission="read:suppressions",
    summary="Show a suppression, or the latest of an address",
    answer=_ONE,
    dialects=_DIALECTS,
)
def show_suppression(caller: Caller, params: dict[str, Any], suppression_id: str) -> dict[str, Any]:
    if "@" in suppression_id:
        rows = scoped_suppressions.page(caller=caller, count=1, scope=Scope("", "", ""), email=suppression_id.strip())
        if not rows:
            raise errors.EntryNotFound(what="address")
        return _shown(rows[0])
    return _shown(scoped_suppressions.find(caller=caller, suppression_id=ids.number_of("sup", suppression_id) or 0))


@operation(
    "DELETE",
    "/suppressions/<suppression_id>",
    permission="write:suppressions",
    summary="Take a suppression off by its id, or an address off in one scope",
    params=_Delete,
    answer={"deleted": 1},
    dialects=_DIALECTS,
)
def delete_suppression(caller: Caller, params: dict[str, Any], suppression_id: str) -> dict[str, Any]:
    """By address without a scope: off the account's list, or with a key of a domain off that domain's."""
    if "@" not in suppression_id:
        number = ids.number_of("sup", suppression_id) or 0
        scoped_suppressions.delete(caller=caller, suppression_id=number)
        return {"deleted": 1}
    reason = _reason(params.get("reason") or "") or None
    gone = scoped_suppressions.delete_address(caller=caller, email=suppression_id, scope=_scope(params), reason=reason)
    return {"deleted": gone}


def _reason(word: str) -> str:
    return _WORDS.get(word, word)


def _scope(params: Mapping[str, Any]) -> Scope:
    return Scope(_SCOPES.get(params.get("scope") or "", ""), params.get("domain") or "", params.get("list_id") or "")


def _new(item: Any, defaults: Mapping[str, Any]) -> New:
    """One as it was sent, a text alone is an address; `defaults` hold where it says nothing."""
    if not isinstance(item, Mapping):
        item = {"email": item}
    said: dict[str, Any] = {name: defaults[name] for name in _KNOWN - {"email"} if name in defaults}
    if any(item.get(name) for name in ("scope", "domain", "list_id")):
        said = {name: value for name, value in said.items() if name not in ("scope", "domain", "list_id")}
    said |= {name: value for name, value in item.items() if name in _KNOWN and value is not None}
    texts = {name: said.get(name, "") for name in ("reason", "scope", "domain", "list_id", "detail")}
    bad = next((name for name, text in texts.items() if not isinstance(text, str)), None)
    if bad is not None:
        return New(said.get("email"), fault=errors.Invalid(f"{bad}: Should be a text.", field=bad))
    if texts["scope"] and texts["scope"] not in _SCOPES:
        words = ", ".join(_SCOPES)
        return New(said.get("email"), fault=errors.Invalid(f"scope: Should be one of {words}.", field="scope"))
    expires = said.get("expires_at")
    if isinstance(expires, str):
        try:
            expires = fields.Moment().deserialize(expires)
        except ma.ValidationError:
            expires = 0  # lies behind, and is refused for that
    return New(
        said.get("email"), _reason(texts["reason"] or suppressions.MANUAL), _scope(texts), texts["detail"], expires
    )


def _result(index: int, one: Put) -> dict[str, Any]:
    body: dict[str, Any] = {"index": index, "email": one.email}
    if one.refusal is not None or one.row is None:
        refusal = one.refusal or errors.EntryNotFound()
        return body | {"result": "failed", "error": refusals.of_item(refusal)}
    return body | {"result": "added" if one.is_new else "known", "suppression": _shown(one.row)}


def _domain(caller: Caller, name: str) -> int | None:
    return domains.find_by_name(caller=caller, name=name).id if name else None


def _shown(one: Listed) -> dict[str, Any]:
    return {
        "id": ids.numbered("sup", one.created_ms, one.id),
        "email": one.address,
        "reason": one.reason,
        "scope": one.scope,
        "domain": one.domain or None,
        "list_id": None if one.list is None else ids.public_id("lst", one.list),
        "detail": one.detail,
        "rule": one.rule,
        "message_id": None if one.message is None else ids.public_id("msg", one.message),
        "created_at": clock.rfc3339(one.created_ms),
        "expires_at": None if one.expires_ms is None else clock.rfc3339(one.expires_ms),
    }


def _allowed(one: Allowed) -> dict[str, Any]:
    return {
        "email": one.address,
        "domain": one.domain or None,
        "note": one.note,
        "created_at": clock.rfc3339(one.created_ms),
    }
