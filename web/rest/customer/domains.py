"""`/domains`: sending domains, their records and the tracking domain of their links."""

from __future__ import annotations

from typing import Any

from gateway import clock, errors
from gateway.services import domain_changes, domains, health_checks, tracking_domains
from gateway.services.identity import Caller
from gateway.services.record_history import RecordState
from models.domain import SenderDomain
from models.vocabulary import CHECK_VERIFIED, DOMAIN_ENABLED
from web.rest import fields
from web.rest.customer.operation import Answer, operation

EXAMPLE: dict[str, Any] = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "domain": "yourdomain.com",
    "status": "verified",
    "is_verified": True,
    "spf_verified": True,
    "dkim_verified": True,
    "tracking_domain_id": None,
    "link_tracking": True,
    "open_tracking": True,
    "unsubscribe_link": False,
    "created_at": "2026-01-23T10:00:00.000Z",
    "verified_at": "2026-01-23T10:05:00.000Z",
    "dns_records": [
        {"type": "TXT", "hostname": "yourdomain.com", "value": "v=spf1 include:mx.example.net ~all", "purpose": "spf",
         "required": False, "is_verified": True}
    ],
}  # fmt: skip
_DMARC_S = 5.0
_WORDS = {DOMAIN_ENABLED: "verified"}


class _Add(fields.Params):
    domain = fields.Text(max=253, min=1, required=True, doc="The domain that mail is sent from")


class _Change(fields.Params):
    tracking_domain_id = fields.Text(max=64, allow_none=True, doc="A verified tracking domain; null for the gateway's")
    link_tracking = fields.Flag()
    open_tracking = fields.Flag()
    unsubscribe_link = fields.Flag()


@operation("GET", "/domains", permission="read:domains", summary="List sending domains", answer={"domains": [EXAMPLE]})
def list_customer_domains(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    listed = domains.list_(caller=caller)
    records = domains.records_of(listed)
    return {"domains": [_shown(domain, records[domain.id]) for domain in listed]}


@operation(
    "POST", "/domains", permission="write:domains", summary="Add a sending domain", params=_Add, answer=EXAMPLE,
    status=201,
)  # fmt: skip
def add_customer_domain(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    if caller.domain_id is not None:
        raise errors.NotAllowed("A key of one domain adds no others.")
    return shown(domains.add(caller=caller, name=params["domain"]))


@operation(
    "GET", "/domains/<domain_id>", permission="read:domains", summary="Show a sending domain, with advice on DMARC",
    answer=EXAMPLE | {
        "dmarc": {
            "status": "warn", "policy": "none", "found_at": "_dmarc.yourdomain.com", "reports": None,
            "advice": "It asks receivers to do nothing about forged mail.",
            "record": {"type": "TXT", "hostname": "_dmarc.yourdomain.com", "value": "v=DMARC1; p=quarantine"},
        },
    },
)  # fmt: skip
def get_customer_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> dict[str, Any]:
    """What DNS says of DMARC is asked now; without an answer in time its status is unknown."""
    domain = find(caller, domain_id)
    return shown(domain) | {"dmarc": _dmarc(domain.name)}


@operation(
    "PATCH", "/domains/<domain_id>", permission="write:domains", summary="Change a sending domain", params=_Change,
    answer=EXAMPLE,
)  # fmt: skip
def change_customer_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> dict[str, Any]:
    """What is not given stays as it is."""
    domain = find(caller, domain_id)
    if "tracking_domain_id" in params:
        domain = tracking_domains.assign(
            caller=caller, sender_domain_id=domain.id, tracking_domain_id=params["tracking_domain_id"] or None
        )
    options = {name: params[name] for name in ("link_tracking", "open_tracking", "unsubscribe_link") if name in params}
    if options:
        domain = domain_changes.update(caller=caller, domain_id=domain.id, **options)
    return shown(domain)


@operation(
    "DELETE", "/domains/<domain_id>", permission="write:domains", summary="Delete a sending domain",
    answer={"message": "Domain deleted"},
)  # fmt: skip
def delete_customer_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> Answer:
    domain_changes.delete(caller=caller, domain_id=find(caller, domain_id).id)
    return Answer({"message": "Domain deleted"})


@operation(
    "POST", "/domains/<domain_id>/verify", permission="write:domains", summary="Look for its records in DNS",
    answer=EXAMPLE,
)  # fmt: skip
def verify_customer_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> dict[str, Any]:
    """A record that is missing is a result, not an error."""
    domain = find(caller, domain_id)
    domains.verify(caller=caller, domain_id=domain.id)
    return shown(domains.find(caller=caller, domain_id=domain.id))


def find(caller: Caller, domain_id: str) -> SenderDomain:
    return domains.find_public(caller=caller, domain_id=domain_id)


def shown(domain: SenderDomain) -> dict[str, Any]:
    return _shown(domain, domains.records(domain))


def _shown(domain: SenderDomain, records: list[RecordState]) -> dict[str, Any]:
    tracking = tracking_domains.of_sender(domain)
    return {
        "id": str(domain.uuid),
        "domain": domain.name,
        "status": _WORDS.get(domain.status, domain.status),
        "is_verified": domain.status == DOMAIN_ENABLED,
        "spf_verified": domain.spf_status == CHECK_VERIFIED,
        "dkim_verified": domain.dkim_status == CHECK_VERIFIED,
        "tracking_domain_id": str(tracking) if tracking is not None else None,
        "link_tracking": domain.link_tracking,
        "open_tracking": domain.open_tracking,
        "unsubscribe_link": domain.unsubscribe_link,
        "created_at": clock.rfc3339_ms(domain.created_ms),
        "verified_at": clock.rfc3339_ms(domain.verified_ms) if domain.verified_ms is not None else None,
        "dns_records": [_record(one) for one in records],
    }


def _record(state: RecordState) -> dict[str, Any]:
    return {
        "type": state.type, "hostname": state.host, "value": state.value, "purpose": state.purpose.value,
        "required": state.required, "is_verified": state.verified,
    }  # fmt: skip


def _dmarc(name: str) -> dict[str, Any]:
    """The policy that holds for the domain, and the record to publish where another would be better."""
    (found,) = health_checks.check(health_checks.Subject(name, ()), only="dmarc", patience=_DMARC_S)
    record = next(iter(found.records), None)
    return {
        "status": found.status,
        "policy": found.facts.get("policy"),
        "found_at": found.facts.get("foundAt"),
        "reports": found.facts.get("reports"),
        "advice": found.detail,
        "record": record and {"type": record.type, "hostname": record.host, "value": record.value},
    }
