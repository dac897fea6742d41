"""DKIM keys of a sender domain: RotateDKIM, CancelDKIMRotation, ImportDKIM and GetDKIMKeys."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Id, Params, Text
from gateway import clock, errors
from gateway.services import key_rotations
from gateway.services.identity import Caller
from gateway.services.key_rotations import KeyView

_READ, _WRITE = "read:domains", "write:domains"
_MISSING, _NOT_FOUND = "Missing required parameter: DomainID", "Unable to retrieve sender domain"
_EXAMPLE = {
    "Selector": "cp1a2b3c4d-rsa",
    "Algorithm": "rsa",
    "Bits": 2048,
    "State": "pending",
    "Host": "cp1a2b3c4d-rsa._domainkey.example.com",
    "Type": "TXT",
    "Value": "v=DKIM1; k=rsa; p=MIIBIjANBg…",
    "InDNS": False,
    "RecordMayBeRemoved": False,
    "CreatedAt": "2026-01-01 12:00:00",
    "SeenAt": "",
    "ReplacedAt": "",
    "RetiresAt": "",
    "RetiredAt": "",
}


class DomainParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain")


class ImportDKIMParams(DomainParams):
    Selector = Text(missing=2, invalid=5, max=63, doc="The selector that its record is published under")
    PrivateKey = Text(
        missing=3, invalid=6, max=20_000, doc="The private key in PEM, RSA (1024 bits or more) or Ed25519, unencrypted"
    )


@command(
    "EmailGateway.RotateDKIM",
    summary="Make new DKIM keys for a domain; each signs once its record is seen in DNS",
    params=DomainParams,
    errors={1: _MISSING, 2: _NOT_FOUND, 3: "A rotation of this domain is running already"},
    refusals={errors.NotFound: 2, errors.RotationRunning: 3},
    answer={"Keys": [_EXAMPLE], "DNSRecords": {_EXAMPLE["Host"]: ["TXT", _EXAMPLE["Value"]]}},
    permission=_WRITE,
)
def rotate_dkim(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    keys = key_rotations.rotate(caller=caller, domain_id=params["DomainID"])
    return {"Keys": [_shown(key) for key in keys], "DNSRecords": {key.host: ["TXT", key.record] for key in keys}}


@command(
    "EmailGateway.CancelDKIMRotation",
    summary="Take back the keys of a rotation that do not sign yet",
    params=DomainParams,
    errors={1: _MISSING, 2: _NOT_FOUND},
    refusals={errors.NotFound: 2},
    answer={"CanceledSelectors": ["cp1a2b3c4d-rsa", "cp1a2b3c4d-ed25519"]},
    permission=_WRITE,
)
def cancel_dkim_rotation(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"CanceledSelectors": key_rotations.cancel(caller=caller, domain_id=params["DomainID"])}


@command(
    "EmailGateway.ImportDKIM",
    summary="Bring an existing DKIM key; it signs once its record is seen in DNS, and is never shown again",
    params=ImportDKIMParams,
    errors={
        1: _MISSING,
        2: "Missing required parameter: Selector",
        3: "Missing required parameter: PrivateKey",
        4: _NOT_FOUND,
        5: "The selector is invalid or in use",
        6: "The private key cannot be used",
        7: "A rotation of this domain is running already",
    },
    refusals={
        errors.NotFound: 4,
        errors.SelectorInUse: 5,
        errors.InvalidSelector: 5,
        errors.Invalid: 6,
        errors.RotationRunning: 7,
    },
    answer={"Key": _EXAMPLE, "Warnings": []},
    permission=_WRITE,
)
def import_dkim(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    key = key_rotations.import_key(
        caller=caller,
        domain_id=params["DomainID"],
        selector=params["Selector"],
        private_key=params["PrivateKey"],
    )
    return {"Key": _shown(key), "Warnings": [key.warning] if key.warning else []}


@command(
    "EmailGateway.GetDKIMKeys",
    summary="List the DKIM keys of a domain: which signs, which waits for its record, whose record may be removed",
    params=DomainParams,
    errors={1: _MISSING, 2: _NOT_FOUND},
    refusals={errors.NotFound: 2},
    answer={"Keys": [_EXAMPLE]},
    permission=_READ,
)
def get_dkim_keys(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"Keys": [_shown(key) for key in key_rotations.list_(caller=caller, domain_id=params["DomainID"])]}


def _shown(key: KeyView) -> dict[str, Any]:
    return {
        "Selector": key.selector,
        "Algorithm": key.algorithm,
        "Bits": key.bits,
        "State": key.state,
        "Host": key.host,
        "Type": "TXT",
        "Value": key.record,
        "InDNS": key.in_dns is True,
        "RecordMayBeRemoved": key.may_be_removed,
        "CreatedAt": clock.sql_text(key.created_ms),
        "SeenAt": _time(key.seen_ms),
        "ReplacedAt": _time(key.replaced_ms),
        "RetiresAt": _time(key.retire_ms),
        "RetiredAt": _time(key.retired_ms),
    }


def _time(ms: int | None) -> str:
    return clock.sql_text(ms) if ms is not None else ""
