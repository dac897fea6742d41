"""Changing sender domains: UpdateDomain, DeleteDomain, ClearDomainQueue and RegenerateSigningKey."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Flag, Id, Params, Text
from gateway import errors
from gateway.services import domain_changes, queues
from gateway.services.identity import Caller
from models.vocabulary import STATUS_WORDS


class UpdateDomainParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain to be updated")
    LinkTracking = Flag(required=False, doc="Enable or disable link tracking (1 for enable, 0 for disable)")
    OpenTracking = Flag(required=False, doc="Enable or disable open tracking (1 for enable, 0 for disable)")
    UnsubscribeLink = Flag(required=False, doc="Enable or disable unsubscribe link (1 for enable, 0 for disable)")
    RequireTLS = Flag(
        required=False,
        doc="Whether mail of the domain waits, and in the end fails, where the next hop takes it only in the clear"
        " (1 for yes)",
    )
    TrackingDomain = Text(
        required=False,
        blank=True,
        max=253,
        doc="The host of tracked links and opens, for example track.example.com; its CNAME should lead to the gateway"
        " by then. Empty for the gateway's own",
    )
    TrackingPrivacy = Flag(
        required=False, doc="Whether opens and clicks are kept without IP address and user agent (1 for yes)"
    )
    TextLinkTracking = Flag(
        required=False,
        doc="Whether links of plain text are tracked too where links are (1 for yes); by default plain text stays as"
        " it is",
    )
    HoneypotLink = Flag(
        required=False,
        doc="Whether HTML with tracked links has one that no reader sees, which tells scanners from people (1 for yes)",
    )
    HostingProvider = Text(required=False, blank=True, max=255, doc="The name of the hosting provider")
    Subdomain = Text(required=False, max=255, doc="The subdomain to be associated with the sender domain")


class DeleteDomainParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain to be deleted")


class ClearDomainQueueParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain to clear the queue")


class RegenerateSigningKeyParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain")


@command(
    "EmailGateway.UpdateDomain",
    summary="Change the options, the hosting provider or the subdomain of a sender domain",
    params=UpdateDomainParams,
    errors={1: "Required field 'DomainID' is missing.", 5: "Unable to retrieve sender domain information."},
    refusals={errors.NotFound: 5},
    answer={
        "Domain": {
            "DomainID": "123",
            "LinkTracking": "1",
            "OpenTracking": "1",
            "UnsubscribeLink": "1",
            "HostingProvider": "YourHostingProvider",
            "Subdomain": "mail",
        }
    },
    error_message=True,
)
def update_domain(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    domain = domain_changes.update(
        caller=caller,
        domain_id=params["DomainID"],
        link_tracking=params.get("LinkTracking"),
        open_tracking=params.get("OpenTracking"),
        unsubscribe_link=params.get("UnsubscribeLink"),
        require_tls=params.get("RequireTLS"),
        tracking_host=params.get("TrackingDomain"),
        tracking_privacy=params.get("TrackingPrivacy"),
        text_link_tracking=params.get("TextLinkTracking"),
        honeypot_link=params.get("HoneypotLink"),
        hosting_provider=params.get("HostingProvider"),
        subdomain=params.get("Subdomain"),
    )
    return {
        "Domain": {
            "DomainID": str(domain.id),
            "LinkTracking": _digit(domain.link_tracking),
            "OpenTracking": _digit(domain.open_tracking),
            "UnsubscribeLink": _digit(domain.unsubscribe_link),
            "RequireTLS": _digit(domain.require_tls),
            "TrackingDomain": domain.tracking_host or "",
            "TrackingPrivacy": _digit(domain.tracking_privacy),
            "TextLinkTracking": _digit(domain.text_link_tracking),
            "HoneypotLink": _digit(domain.honeypot_link),
            "HostingProvider": domain.hosting_provider,
            "Subdomain": domain.subdomain,
            "DomainName": domain.name,
            "SenderDomain": domain.name,
            "Status": STATUS_WORDS[domain.status],
        }
    }


@command(
    "EmailGateway.DeleteDomain",
    summary="Delete a sender domain; mail of it that waits is canceled",
    params=DeleteDomainParams,
    errors={
        1: "Missing required parameter: DomainID",
        2: "Domain not found or user does not have permission to delete the domain",
    },
    refusals={errors.NotFound: 2},
    error_message=True,
)
def delete_domain(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"CanceledDeliveries": domain_changes.delete(caller=caller, domain_id=params["DomainID"])}


@command(
    "EmailGateway.ClearDomainQueue",
    summary="Fail what waits in the queue of a domain",
    params=ClearDomainQueueParams,
    errors={1: "Missing required parameter: DomainID", 2: "Unable to retrieve sender domain"},
    refusals={errors.NotFound: 2},
)
def clear_domain_queue(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"ClearedDeliveries": queues.clear_domain(caller=caller, domain_id=params["DomainID"])}


@command(
    "EmailGateway.RegenerateSigningKey",
    summary="Give a domain a new key that signs its webhook calls",
    params=RegenerateSigningKeyParams,
    errors={1: "Missing required parameter: DomainID", 2: "Unable to retrieve sender domain"},
    refusals={errors.NotFound: 2},
    answer={"SigningKey": "webhook-signing-key"},
)
def regenerate_signing_key(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"SigningKey": domain_changes.regenerate_signing_key(caller=caller, domain_id=params["DomainID"])}


def _digit(value: Any) -> str:
    return "1" if value else "0"
