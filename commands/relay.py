"""How to relay mail of a domain through this gateway: SMTPRelay."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Id, Params
from gateway import config, errors
from gateway.services import smtps
from gateway.services.identity import Caller

_TLS_PORT = "465"  # RFC 8314 §7.3: submissions, TLS from the first byte


class SmtpRelayParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain")


@command(
    "EmailGateway.SMTPRelay",
    summary="Show how mail of a domain is relayed through this gateway over SMTP",
    params=SmtpRelayParams,
    errors={1: "Missing required parameter: DomainID", 2: "Unable to retrieve sender domain"},
    refusals={errors.NotFound: 2},
    answer={
        "SMTPRelay": {
            "Host": "smtp.example.com",
            "Ports": ["587", "465"],
            "Connections": [
                {"Port": "587", "Encryption": "STARTTLS"},
                {"Port": "465", "Encryption": "TLS"},
            ],
            "Authentication": ["PLAIN", "LOGIN"],
            "HasCredentials": True,
            "Usernames": ["user@example.com"],
        }
    },
)
def smtp_relay(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    logins = [login for login in smtps.list_(caller=caller, domain_id=params["DomainID"]) if login.active]
    settings = config.settings()
    ports = settings.shown_smtp_ports
    return {
        "SMTPRelay": {
            "Host": settings.shown_smtp_host,
            "Ports": ports,
            "Connections": [{"Port": port, "Encryption": _encryption(port, settings)} for port in ports],
            "Authentication": ["PLAIN", "LOGIN"],
            "HasCredentials": bool(logins),
            "Usernames": [login.username for login in logins],
        }
    }


def _encryption(port: str, settings: config.Settings) -> str:
    if port == _TLS_PORT or (settings.smtps is not None and port == str(settings.smtps.port)):
        return "TLS"
    return "STARTTLS" if settings.tls_cert is not None else "None"
