"""SMTP logins: AddSMTP, GetSMTPs, DeleteSMTP, ResetSMTPPassword."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Id, Params, Text
from gateway import config, errors
from gateway.services import smtps
from gateway.services.identity import Caller

MASK = "********"


class AddSmtpParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain")
    FromName = Text(required=False, max=255, doc="The display name shown with the login")
    FromEmail = Text(required=False, max=254, doc="The sender address shown with the login")
    ReplyToName = Text(required=False, max=255, doc="The Reply-To name shown with the login")
    ReplyToEmail = Text(required=False, max=254, doc="The Reply-To address shown with the login")


class GetSmtpsParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain")


class SmtpParams(Params):
    smtpid = Id(missing=1, doc="The unique identifier for the SMTP configuration")


@command(
    "EmailGateway.AddSMTP",
    summary="Add an SMTP login to a domain",
    params=AddSmtpParams,
    errors={1: "Required field 'DomainID' is missing.", 2: "Unable to retrieve the sender domain."},
    refusals={errors.NotFound: 2},
    answer={
        "NewSMTPID": "new-smtp-id",
        "SMTP": {"SMTPHost": "smtp.example.com", "SMTPPorts": ["25", "587", "465"], "OtherSMTPInfo": "..."},
    },
    error_message=True,
)
def add_smtp(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    login, password = smtps.add(
        caller=caller,
        domain_id=params["DomainID"],
        from_name=params.get("FromName", ""),
        from_email=params.get("FromEmail", ""),
        reply_to_name=params.get("ReplyToName", ""),
        reply_to_email=params.get("ReplyToEmail", ""),
    )
    return {
        "NewSMTPID": login.id if caller.options.get("numeric_ids") else str(login.id),
        "SMTP": {
            **_shown(login, password),
            "SMTPUsername": login.username,
            "SMTPPassword": password,
            "OtherSMTPInfo": f"AUTH PLAIN or LOGIN; From is an address at {login.domain} or a subdomain of it",
        },
    }


@command(
    "EmailGateway.GetSMTPs",
    summary="List the SMTP logins of a domain",
    params=GetSmtpsParams,
    errors={1: "Missing required parameter 'DomainID'.", 2: "Unable to retrieve sender domain details."},
    refusals={errors.NotFound: 2},
    answer={
        "SMTPs": [
            {
                "SMTPID": "smtp-id",
                "SMTPHost": "smtp.example.com",
                "SMTPPorts": ["25", "587", "465"],
                "Username": "user@example.com",
                "Password": "encrypted-password",
                "FromEmail": "from@example.com",
                "FromName": "Example Sender",
                "ReplyToEmail": "reply-to@example.com",
                "ReplyToName": "Example Reply",
                "IsActive": True,
            }
        ]
    },
)
def get_smtps(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    logins = smtps.list_(caller=caller, domain_id=params["DomainID"])
    return {"SMTPs": [_shown(login, MASK) for login in logins]}


@command(
    "EmailGateway.DeleteSMTP",
    summary="Delete an SMTP login",
    params=SmtpParams,
    errors={1: "Required field is missing", 2: "SMTP configuration not found or user does not have permission"},
    refusals={errors.NotFound: 2},
)
def delete_smtp(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    smtps.delete(caller=caller, smtp_id=params["smtpid"])
    return {}


@command(
    "EmailGateway.ResetSMTPPassword",
    summary="Give an SMTP login a new password",
    params=SmtpParams,
    errors={1: "Missing required parameter 'smtpid'", 2: "SMTP configuration not found or access denied"},
    refusals={errors.NotFound: 2},
    answer={
        "SMTP": {"SMTPID": "your-smtp-id", "Server": "smtp.example.com", "Port": 587, "Username": "user@example.com"}
    },
)
def reset_smtp_password(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    login, password = smtps.reset_password(caller=caller, smtp_id=params["smtpid"])
    settings = config.settings()
    ports = settings.shown_smtp_ports
    return {
        "SMTP": {
            "SMTPID": str(login.id),
            "Server": settings.shown_smtp_host,
            "Port": int("587" if "587" in ports else ports[0]),  # RFC 6409 names 587
            "Username": login.username,
            "SMTPUsername": login.username,
            "SMTPPassword": password,
        }
    }


def _shown(login: smtps.SmtpLogin, password: str) -> dict[str, Any]:
    settings = config.settings()
    return {
        "SMTPID": str(login.id),
        "SMTPHost": settings.shown_smtp_host,
        "SMTPPorts": settings.shown_smtp_ports,
        "Username": login.username,
        "Password": password,
        "FromEmail": login.from_email,
        "FromName": login.from_name,
        "ReplyToEmail": login.reply_to_email,
        "ReplyToName": login.reply_to_name,
        "IsActive": login.active,
    }
