"""`/v1/sending-domains`: domains that send, the records to publish for them, and their verification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway import clock, errors, ids
from gateway.services import domain_changes, domains
from gateway.services.domains import RecordState
from gateway.services.identity import Caller
from models.domain import SenderDomain
from models.vocabulary import DOMAIN_DISABLED, DOMAIN_ENABLED, DOMAIN_PENDING, DOMAIN_SUSPENDED
from web.rest import fields, paging
from web.rest.v1.operation import Answer, operation

PREFIX = "dom"
READ, WRITE = "read:sending-domains", "write:sending-domains"
DIALECTS = ("mailersio", "octeth")
_WORDS = {one: one for one in (DOMAIN_PENDING, DOMAIN_DISABLED, DOMAIN_SUSPENDED)} | {DOMAIN_ENABLED: "verified"}
"""A domain's status in the words of this surface."""
_OPTIONS = {"track_opens": "open_tracking", "track_links": "link_tracking"} | {
    name: name for name in ("unsubscribe_link", "require_tls", "tracking_host", "tracking_privacy")
}
"""A domain's options in the words of this surface, and its columns."""

_EXAMPLE: dict[str, Any] = {
    "id": "dom_01KPZ3N8V4E0R2Y7T6W9Q5B1CD",
    "domain": "acme.com",
    "status": "pending",
    "verified": False,
    "created_at": "2026-04-19T10:24:11Z",
    "verified_at": None,
    "checked_at": None,
    "track_opens": True,
    "track_links": True,
    "unsubscribe_link": False,
    "require_tls": False,
    "tracking_host": None,
    "tracking_privacy": False,
    "return_path": "bounce.acme.com",
    "records": [
        {
            "type": "TXT",
            "host": "bounce.acme.com",
            "value": "v=spf1 include:mx.example.net ~all",
            "purpose": "spf",
            "required": True,
            "verified": False,
            "note": "",
        }
    ],
}


class _Add(fields.Params):
    domain = fields.Text(max=1000, min=1, required=True, doc="The name of the domain")


class _Listing(fields.Listing):
    status = fields.Text(choices=tuple(_WORDS.values()), doc="Only those of this status: `verified` ones may send")
    name = fields.Text(max=253, load_default="", doc="Only those whose name has this in it")


class _Change(fields.Params):
    track_opens = fields.Flag(doc="Whether opens are tracked, unless a message says otherwise")
    track_links = fields.Flag(doc="Whether clicks are tracked, unless a message says otherwise")
    unsubscribe_link = fields.Flag(doc="Whether every message gets a link to unsubscribe")
    require_tls = fields.Flag(doc="Whether mail waits, and in the end fails, rather than leave in clear text")
    tracking_host = fields.Text(
        max=253, allow_none=True, doc="The host of tracked links; it has to lead here by then. null: the gateway's own"
    )
    tracking_privacy = fields.Flag(doc="Whether opens and clicks are kept without address and user agent")
    return_path = fields.Text(
        max=253, min=1, doc="The host of the return path; another one has other records, which have to be verified"
    )


@operation(
    "GET", "/sending-domains", permission=READ, summary="List sending domains", params=_Listing,
    dialects=DIALECTS, answer={"data": [_EXAMPLE], "has_more": False, "next_cursor": None}, several=True,
)  # fmt: skip
def list_sending_domains(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    after = paging.last_id(params["cursor"]) or 0
    status, name = params.get("status"), params["name"].strip().lower()
    found = [
        domain
        for domain in domains.list_(caller=caller)
        if domain.id > after and status in (None, _WORDS[domain.status]) and name in domain.name
    ][: params["limit"] + 1]
    records = domains.records_of(found)
    return paging.page(
        found,
        params["limit"],
        lambda domain: paging.cursor(domain.id),
        lambda domain: shown(domain, records[domain.id]),
    )


@operation(
    "POST", "/sending-domains", permission=WRITE, summary="Register a sending domain", params=_Add,
    dialects=DIALECTS, answer=_EXAMPLE, status=201,
)  # fmt: skip
def add_sending_domain(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """For keys of the account: one of a domain reaches no other."""
    if caller.domain_id is not None:
        raise errors.NotAllowed("A key of one domain adds no others.")
    domain = domains.add(caller=caller, name=params["domain"])
    return shown(domain, domains.records(domain))


@operation(
    "GET", "/sending-domains/<domain_id>", permission=READ, summary="Show a sending domain and its DNS records",
    dialects=DIALECTS, answer=_EXAMPLE, several=True,
)  # fmt: skip
def show_sending_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> dict[str, Any]:
    domain = _found(caller, domain_id)
    return shown(domain, domains.records(domain))


@operation(
    "PATCH", "/sending-domains/<domain_id>", permission=WRITE, summary="Change what is given of a sending domain",
    params=_Change, dialects=DIALECTS, answer=_EXAMPLE, several=True,
)  # fmt: skip
def change_sending_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> dict[str, Any]:
    """Options act on messages accepted from now on; `require_tls`, `tracking_host` and `tracking_privacy` at once."""
    changes = {_OPTIONS[name]: params[name] for name in _OPTIONS if name in params}
    if "tracking_host" in changes:
        changes["tracking_host"] = changes["tracking_host"] or ""
    try:
        domain = domain_changes.update(
            caller=caller,
            domain_id=_found(caller, domain_id).id,
            subdomain=params.get("return_path"),
            **changes,
        )
    except errors.Invalid as error:
        name = {"TrackingDomain": "tracking_host", "Subdomain": "return_path"}.get(str(error.data.get("field")), "")
        raise errors.Invalid(error.message.replace("TrackingDomain", name), field=name) from None
    return shown(domain, domains.records(domain))


@operation(
    "DELETE", "/sending-domains/<domain_id>", permission=WRITE, summary="Take a sending domain away",
    dialects=DIALECTS, status=204, several=True,
)  # fmt: skip
def remove_sending_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> Answer:
    """It sends nothing new from now on; what waits is canceled."""
    domain_changes.delete(caller=caller, domain_id=_found(caller, domain_id).id)
    return Answer(None)


@operation(
    "POST", "/sending-domains/<domain_id>/verify", permission=WRITE, summary="Check a sending domain's DNS records",
    dialects=DIALECTS, answer=_EXAMPLE | {"problem": None}, several=True,
)  # fmt: skip
def verify_sending_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> dict[str, Any]:
    """A record that is missing is a result, not an error."""
    found = domains.verify(caller=caller, domain_id=_found(caller, domain_id).id)
    return shown(found.domain, found.records) | {"problem": found.problem or None}


def _found(caller: Caller, text: str) -> SenderDomain:
    """By its id, or by its name; raises `NotFound`."""
    uuid = ids.uuid_of(PREFIX, text.strip())
    if uuid is None:
        return domains.find_by_name(caller=caller, name=text)
    return domains.find_by_uuid(caller=caller, uuid=uuid)


def shown(domain: SenderDomain, records: Sequence[RecordState]) -> dict[str, Any]:
    return {
        "id": ids.public_id(PREFIX, domain.uuid),
        "domain": domain.name,
        "status": _WORDS[domain.status],
        "verified": domain.status == DOMAIN_ENABLED,
        "created_at": clock.rfc3339(domain.created_ms),
        "verified_at": _time(domain.verified_ms),
        "checked_at": _time(domain.checked_ms),
        **{name: getattr(domain, column) for name, column in _OPTIONS.items()},
        "require_tls": bool(domain.require_tls),
        "tracking_privacy": bool(domain.tracking_privacy),
        "return_path": domains.return_path_host(domain),
        "records": [
            {
                "type": record.type,
                "host": record.host,
                "value": record.value,
                "purpose": record.purpose.value,
                "required": record.required,
                "verified": record.verified,
                "note": record.note,
            }
            for record in records
        ],
    }


def _time(ms: int | None) -> str | None:
    return None if ms is None else clock.rfc3339(ms)
