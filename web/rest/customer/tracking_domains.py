"""`/tracking-domains`: hosts of links and opens that an account brings along."""

from __future__ import annotations

from typing import Any

from gateway import clock, config
from gateway.services import tracking_domains
from gateway.services.identity import Caller
from models import TrackingDomain
from web.rest import fields
from web.rest.customer.operation import Answer, operation

_SETUP = {
    "record_type": "CNAME",
    "hostname": "track.yourdomain.com",
    "value": "mx.example.net",
    "instructions": "Add a CNAME record in your DNS settings pointing track.yourdomain.com to mx.example.net",
}
MADE = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "domain": "track.yourdomain.com",
    "cname_target": "mx.example.net",
    "is_verified": False,
    "ssl_enabled": False,
    "created_at": "2026-01-23T10:00:00.000Z",
    "dns_setup": _SETUP,
}
SHOWN = MADE | {"verified_at": None, "https_url": None}


class _Create(fields.Params):
    domain = fields.Text(max=253, min=1, required=True, doc="The tracking domain; a subdomain of yours is best")


@operation(
    "POST", "/tracking-domains", permission="write:domains", summary="Create a tracking domain", params=_Create,
    answer=MADE, status=201,
)  # fmt: skip
def create_tracking_domain(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return shown(tracking_domains.create(caller=caller, name=params["domain"]))


@operation(
    "GET", "/tracking-domains", permission="read:domains", summary="List tracking domains",
    answer={"tracking_domains": [SHOWN]},
)  # fmt: skip
def list_tracking_domains(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"tracking_domains": [shown(one) for one in tracking_domains.list_(caller=caller)]}


@operation(
    "GET", "/tracking-domains/<domain_id>", permission="read:domains", summary="Show a tracking domain", answer=SHOWN
)
def get_tracking_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> dict[str, Any]:
    return shown(tracking_domains.find(caller=caller, domain_id=domain_id))


@operation(
    "POST", "/tracking-domains/<domain_id>/verify", permission="write:domains",
    summary="Look for its CNAME record, and try TLS", answer=SHOWN | {"message": "…"},
)  # fmt: skip
def verify_tracking_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> dict[str, Any]:
    """A record that is missing is a result, not an error."""
    found = tracking_domains.verify(caller=caller, domain_id=domain_id)
    if found.verified_name is None:
        message = f"{found.name} has no CNAME record that leads to {config.settings().hostname} yet."
    elif found.ssl_enabled:
        message = f"{found.name} leads to us and is served over TLS."
    else:
        message = f"{found.name} leads to us; TLS is tried again every minute: {found.ssl_error}."
    return shown(found) | {"message": message}


@operation(
    "DELETE", "/tracking-domains/<domain_id>", permission="write:domains", summary="Delete a tracking domain",
    answer={"message": "Tracking domain deleted"},
)  # fmt: skip
def delete_tracking_domain(caller: Caller, params: dict[str, Any], domain_id: str) -> Answer:
    tracking_domains.delete(caller=caller, domain_id=domain_id)
    return Answer({"message": "Tracking domain deleted"})


def shown(found: TrackingDomain) -> dict[str, Any]:
    target = config.settings().hostname
    verified = found.verified_name is not None
    return {
        "id": str(found.uuid),
        "domain": found.name,
        "cname_target": target,
        "is_verified": verified,
        "verified_at": clock.rfc3339_ms(found.verified_ms) if found.verified_ms is not None else None,
        "ssl_enabled": found.ssl_enabled,
        "created_at": clock.rfc3339_ms(found.created_ms),
        "https_url": f"https://{found.name}" if found.ssl_enabled else None,
        "dns_setup": {
            "record_type": "CNAME",
            "hostname": found.name,
            "value": target,
            "instructions": f"Add a CNAME record in your DNS settings pointing {found.name} to {target}",
        },
    }
