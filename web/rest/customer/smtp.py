"""`/smtp`: the login for submission of a domain; one is made where there is none."""

from __future__ import annotations

from typing import Any

from gateway import config, errors
from gateway.services import domains, smtps
from gateway.services.identity import Caller
from gateway.services.smtps import SmtpLogin
from models.domain import SenderDomain
from models.vocabulary import DOMAIN_ENABLED
from web.rest import fields
from web.rest.customer.domains import find
from web.rest.customer.operation import operation

_SHOWN = {
    "host": "mx.example.net", "ports": ["2525"], "username": "yourdomain.com-1a2b3c", "password": "…",
    "domain": "yourdomain.com", "encryption": "STARTTLS", "is_active": True,
}  # fmt: skip


class _Which(fields.Params):
    domain_id = fields.Text(max=64, load_default="", doc="Of which domain; the first enabled one otherwise")


@operation(
    "GET", "/smtp", permission="write:smtp", summary="The SMTP credentials, with the password", params=_Which,
    answer=_SHOWN,
)  # fmt: skip
def get_smtp(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    domain = _domain(caller, params["domain_id"])
    logins = smtps.list_(caller=caller, domain_id=domain.id)
    if not logins:
        return _shown(*smtps.add(caller=caller, domain_id=domain.id))
    return _shown(logins[0], smtps.password(caller=caller, smtp_id=logins[0].id))


@operation(
    "POST", "/smtp/rotate", permission="write:smtp", summary="A new password; the old one stops at once", params=_Which,
    answer=_SHOWN,
)  # fmt: skip
def rotate_smtp(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    domain = _domain(caller, params["domain_id"])
    logins = smtps.list_(caller=caller, domain_id=domain.id)
    if not logins:
        return _shown(*smtps.add(caller=caller, domain_id=domain.id))
    return _shown(*smtps.reset_password(caller=caller, smtp_id=logins[0].id))


def _domain(caller: Caller, domain_id: str) -> SenderDomain:
    if domain_id:
        return find(caller, domain_id)
    listed = domains.list_(caller=caller)
    found = next((domain for domain in listed if domain.status == DOMAIN_ENABLED), None) or next(iter(listed), None)
    if found is None:
        raise errors.NotFound("There is no sending domain yet: add one first.", what="domain")
    return found


def _shown(login: SmtpLogin, password: str) -> dict[str, Any]:
    settings = config.settings()
    return {
        "host": settings.shown_smtp_host,
        "ports": settings.shown_smtp_ports,
        "username": login.username,
        "password": password,
        "domain": login.domain,
        "encryption": "STARTTLS",
        "is_active": login.active,
    }
