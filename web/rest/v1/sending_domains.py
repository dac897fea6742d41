"""`/v1/sending-domains`: domains that send, the records to publish for them, and their verification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway import clock, errors, ids
from gateway.services import domain_changes, domains
from gateway.services.domains import RecordState
from gateway.services.identity import Caller
from models.domain import SenderDomain
from models.vocabulary import DOMAIN_ENABLED
from web.rest import fields, paging
from web.rest.v1.operation import Answer, operation

PREFIX = "dom"
READ, WRITE = "read:sending-domains", "write:sending-domains"
DIALECTS = ("mailersio", "octeth")
STATUSES = {DOMAIN_ENABLED: "verified"}
"""A domain's status in the words of this surface; the others are our own: pending, disabled, suspended."""

_EXAMPLE: dict[str, Any] = {
    "id": "dom_01KPZ3N8V4E0R2Y7T6W9Q5B1CD",
    "domain": "acme.com",
    "status": "pending",
    "verified": False,
    "created_at": "2026-04-19T10:24:11Z",
    "verified_at": None,
    "checked_at": None,
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


@operation(
    "GET", "/sending-domains", permission=READ, summary="List sending domains", params=fields.Listing,
    dialects=DIALECTS, answer={"data": [_EXAMPLE], "has_more": False, "next_cursor": None}, several=True,
)  # fmt: skip
def list_sending_domains(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    after = paging.last_id(params["cursor"]) or 0
    found = [domain for domain in domains.list_(caller=caller) if domain.id > after][: params["limit"] + 1]
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
        "status": STATUSES.get(domain.status, domain.status),
        "verified": domain.status == DOMAIN_ENABLED,
        "created_at": clock.rfc3339(domain.created_ms),
        "verified_at": _time(domain.verified_ms),
        "checked_at": _time(domain.checked_ms),
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
