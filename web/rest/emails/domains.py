"""`/api/v1/domains`: the domains that mail is sent from, and the records that verify them."""

from __future__ import annotations

from typing import Any

from gateway import clock, errors
from gateway.dns.records import Purpose
from gateway.services import domain_changes, domains
from gateway.services.identity import Caller
from models.domain import SenderDomain
from models.vocabulary import DOMAIN_ENABLED, DOMAIN_PENDING
from web.rest import fields
from web.rest.emails.operation import operation
from web.rest.surface import Answer

EXAMPLE = {
    "id": "0199a1b2-0000-7000-8000-000000000000", "name": "yourdomain.com", "status": "pending",
    "records": [{"type": "TXT", "name": "_commandpost.yourdomain.com", "value": "…", "purpose": "ownership",
                 "required": True, "verified": False}],
    "createdAt": "2025-01-15T10:30:00.000Z",
}  # fmt: skip
_WORDS = {DOMAIN_ENABLED: "verified", DOMAIN_PENDING: "pending"}


class _Add(fields.Params):
    name = fields.Text(max=253, min=1, required=True, doc="The domain")


@operation("GET", "/domains", permission="read:domains", summary="List domains", answer={"data": [EXAMPLE]})
def list_email_domains(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"data": [_shown(domain) for domain in domains.list_(caller=caller)]}


@operation(
    "POST", "/domains", permission="write:domains", summary="Add a domain", params=_Add, answer=EXAMPLE, status=201
)
def add_email_domain(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    if caller.domain_id is not None:
        raise errors.NotAllowed("A key of one domain adds no others.")
    return _shown(domains.add(caller=caller, name=params["name"]))


@operation("GET", "/domains/<domain_id>", permission="read:domains", summary="Show a domain", answer=EXAMPLE)
def get_email_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> dict[str, Any]:
    return _shown(_find(caller, domain_id))


@operation(
    "POST", "/domains/<domain_id>/verify", permission="write:domains", summary="Look for its records in DNS",
    answer=EXAMPLE,
)  # fmt: skip
def verify_email_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> dict[str, Any]:
    """A record that is missing is a result, not an error."""
    domain = _find(caller, domain_id)
    domains.verify(caller=caller, domain_id=domain.id)
    return _shown(domains.find(caller=caller, domain_id=domain.id))


@operation("DELETE", "/domains/<domain_id>", permission="write:domains", summary="Delete a domain", status=204)
def delete_email_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> Answer:
    domain_changes.delete(caller=caller, domain_id=_find(caller, domain_id).id)
    return Answer(None)


def _find(caller: Caller, domain_id: str) -> SenderDomain:
    return domains.find_public(caller=caller, domain_id=domain_id)


def _shown(domain: SenderDomain) -> dict[str, Any]:
    """The records of DKIM first: they are what this surface speaks of."""
    records = sorted(domains.records(domain), key=lambda one: one.purpose is not Purpose.DKIM)
    return {
        "id": str(domain.uuid),
        "name": domain.name,
        "status": _WORDS.get(domain.status, domain.status),
        "records": [
            {"type": one.type, "name": one.host, "value": one.value, "purpose": one.purpose.value,
             "required": one.required, "verified": one.verified}
            for one in records
        ],
        "createdAt": clock.rfc3339_ms(domain.created_ms),
    }  # fmt: skip
