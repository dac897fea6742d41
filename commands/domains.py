"""Sender domains: AddDomain, GetDomain, GetDomains and VerifyDomain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commands.registry import command
from commands.schema import Flag, Id, Params, Text
from gateway import clock, errors
from gateway.dns.records import Purpose
from gateway.services import domain_counts, domains, event_words
from gateway.services.domains import RecordState
from gateway.services.identity import Caller
from models.domain import SenderDomain
from models.vocabulary import (
    CHECK_FAILED,
    CHECK_PENDING,
    CHECK_VERIFIED,
    DOMAIN_ENABLED,
    STATUS_WORDS,
)


class AddDomainParams(Params):
    DomainName = Text(
        missing=1, invalid=2, max=1000, doc="The domain name to be added as a sender domain", example="example.com"
    )


class GetDomainParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain to retrieve")


class VerifyDomainParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain to be verified")


class GetDomainsParams(Params):
    WithCounts = Flag(required=False, doc="Whether to count what belongs to each domain (1 for yes)")


@command(
    "EmailGateway.AddDomain",
    summary="Add a sender domain",
    params=AddDomainParams,
    errors={
        1: "Missing required parameter: DomainName",
        2: "Invalid domain name provided",
        3: "User has reached the maximum number of sender domains allowed",
    },
    refusals={errors.InvalidDomainName: 2, errors.DomainExists: 2, errors.DomainLimitReached: 3},
    answer={
        "NewSenderDomainID": 12345,
        "Domain": {
            "DomainName": "example.com",
            "VerificationStatus": "Pending",
            "DKIMStatus": "Pending",
            "SPFStatus": "Pending",
        },
    },
)
def add_domain(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    domain = domains.add(caller=caller, name=params["DomainName"])
    return {"NewSenderDomainID": domain.id, "Domain": {"DomainID": domain.id, **_whole(domain)}}


@command(
    "EmailGateway.GetDomain",
    summary="Show a sender domain and its DNS records",
    params=GetDomainParams,
    errors={1: "Required parameter missing: DomainID", 2: "Unable to retrieve domain information"},
    refusals={errors.NotFound: 2},
    answer={"Domain": {"DomainID": 123, "DomainName": "example.com", "IsActive": True}},
    error_message=True,
)
def get_domain(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    domain = domains.find(caller=caller, domain_id=params["DomainID"])
    return {"Domain": {"DomainID": domain.id, **_whole(domain)}}


@command(
    "EmailGateway.GetDomains",
    summary="List the sender domains of the account",
    params=GetDomainsParams,
    answer={
        "Domains": [
            {"DomainID": "123", "DomainName": "example.com", "Verified": True, "Active": True},
            {"DomainID": "124", "DomainName": "example.net", "Verified": False, "Active": False},
        ]
    },
)
def get_domains(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = domains.list_(caller=caller)
    records = domains.records_of(found)
    listed = [{"DomainID": str(domain.id), **_shown(domain, records[domain.id])} for domain in found]
    if params.get("WithCounts"):
        counts = domain_counts.counts(caller=caller, domain_ids=[domain.id for domain in found])
        for domain, one in zip(found, listed, strict=True):
            one["Counts"] = _counts(counts[domain.id])
    return {"Domains": listed}


@command(
    "EmailGateway.VerifyDomain",
    summary="Check the DNS records of a sender domain",
    params=VerifyDomainParams,
    errors={1: "Required field 'DomainID' is missing.", 2: "Unable to retrieve the sender domain information."},
    refusals={errors.NotFound: 2},
    answer={
        "Domain": {"DomainID": "123", "DomainName": "example.com", "Status": "Enabled"},
        "DNSVerificationResults": [
            {"Host": "example.com", "Type": "TXT", "Value": "v=spf1 include:mailgun.org ~all", "Verified": True}
        ],
    },
    error_message=True,
)
def verify_domain(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    result = domains.verify(caller=caller, domain_id=params["DomainID"])
    shown = _shown(result.domain, result.records)
    if result.problem:
        shown["VerificationMeta"]["ErrorText"] = result.problem
    return {
        "Domain": {"DomainID": str(result.domain.id), **shown},
        "DNSVerificationResults": [
            {"Host": record.host, "Type": record.type, "Value": record.value, "Verified": record.verified}
            for record in result.records
        ],
    }


def _whole(domain: SenderDomain) -> dict[str, Any]:
    """A domain with the key that its webhooks are signed with."""
    return {**_shown(domain, domains.records(domain)), "SigningKey": domains.signing_key(domain)}


def _shown(domain: SenderDomain, records: Sequence[RecordState]) -> dict[str, Any]:
    """A domain under the names of all documents, but for its id, whose type differs between them."""
    enabled = domain.status == DOMAIN_ENABLED
    verification = domains.verification_status(domain)
    return {
        "DomainName": domain.name,
        "SenderDomain": domain.name,
        "Status": STATUS_WORDS[domain.status],
        "IsActive": enabled,
        "Active": enabled,
        "Verified": verification == CHECK_VERIFIED,
        "VerificationStatus": verification,
        "DKIMStatus": domain.dkim_status,
        "SPFStatus": domain.spf_status,
        "CreatedAt": clock.sql_text(domain.created_ms),
        "VerificationMeta": {
            "DNSRecords": {record.host: [record.type, record.value] for record in records},
            "Required": [record.host for record in records if record.required],
            "Verified": [record.host for record in records if record.verified],
            "Notes": {record.host: record.note for record in records if record.note},
            "LastCheckedAt": clock.sql_text(domain.checked_ms) if domain.checked_ms is not None else "",
        },
        "PolicyMeta": {"SPF": domain.spf_status, "DKIM": domain.dkim_status, "DMARC": _dmarc(domain, records)},
        "Options": {
            "LinkTracking": bool(domain.link_tracking),
            "OpenTracking": bool(domain.open_tracking),
            "UnsubscribeLink": bool(domain.unsubscribe_link),
            "RequireTLS": bool(domain.require_tls),
            "TrackingDomain": domain.tracking_host or "",
            "TrackingPrivacy": bool(domain.tracking_privacy),
            "TextLinkTracking": bool(domain.text_link_tracking),
            "HoneypotLink": bool(domain.honeypot_link),
        },
        "HostingProvider": domain.hosting_provider,
        "Subdomain": domain.subdomain,
    }


def _counts(counts: domain_counts.Counts) -> dict[str, Any]:
    """What belongs to a domain; events are those of the last 28 days, by their long words."""
    events: dict[str, int] = {}
    for kind, count in counts.events.items():
        word = event_words.long(kind)
        events[word] = events.get(word, 0) + count
    return {
        "APIKeys": counts.keys,
        "SMTPs": counts.smtps,
        "Webhooks": counts.webhooks,
        "Events": sum(events.values()),
        "EventsByType": events,
    }


def _dmarc(domain: SenderDomain, records: Sequence[RecordState]) -> str:
    if domain.checked_ms is None:
        return CHECK_PENDING
    found = any(record.verified for record in records if record.purpose is Purpose.DMARC)
    return CHECK_VERIFIED if found else CHECK_FAILED
