"""The answer of a dry run: what a send would do, gate by gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from commands.sending import codes
from gateway import clock
from gateway.services import verdicts
from gateway.services.alignment import Check, Forecast
from gateway.services.dry_runs import Destination, DryRun, Recipient
from gateway.services.verdicts import Verdict

_GATES: dict[int, str] = {
    codes.MISSING_KEY: verdicts.AUTH,
    codes.INVALID_KEY: verdicts.AUTH,
    codes.ACCOUNT: verdicts.AUTH,
    codes.UNVERIFIED: verdicts.AUTH,
    codes.INVALID_DOMAIN: verdicts.SENDER_DOMAIN,
    codes.DOMAIN_INACTIVE: verdicts.SENDER_DOMAIN,
    codes.FROM: verdicts.SENDER_DOMAIN,
    codes.SUPPRESSED: verdicts.SUPPRESSION,
    codes.SENDING_LIMIT: verdicts.QUOTA,
}


def verdict(one: Verdict) -> dict[str, Any]:
    """A verdict as commands answer it; `Until` is empty where it holds for good."""
    return {
        "Gate": one.gate,
        "Decision": one.decision,
        "Rule": one.rule,
        "Until": "" if one.until_ms is None else clock.sql_text(one.until_ms),
        "Details": one.details,
    }


def shown_verdicts(stored: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [verdict(one) for one in verdicts.read_all(stored)]


def of_faults(found: Mapping[int, str]) -> list[dict[str, Any]]:
    """The verdicts of the gates behind documented errors, one for each gate."""
    gates: dict[str, dict[int, str]] = {}
    for code, text in found.items():
        gates.setdefault(_GATES.get(code, verdicts.VALIDATION), {})[code] = text
    return [
        {
            "gate": gate,
            "decision": verdicts.REFUSED,
            "rule": "fields",
            "codes": list(said),
            "text": " ".join(said.values()),
        }
        for gate, said in sorted(gates.items(), key=lambda item: verdicts.ACCEPTING.index(item[0]))
    ]


def refused(stored: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What stands beside the errors of a dry run that would be refused."""
    return {"DryRun": True, "Decision": verdicts.REFUSED, "Verdicts": shown_verdicts(stored)}


def shown(found: DryRun) -> dict[str, Any]:
    """The answer; `Decision` is accepted, or replayed with the MessageID of the first answer."""
    answer: dict[str, Any] = {
        "DryRun": True,
        "Decision": "replayed" if found.replays else "accepted",
        "Verdicts": shown_verdicts(found.verdicts),
    }
    if found.replays:
        return answer | {"MessageID": found.replays}
    return answer | {
        "Recipients": [_recipient(one) for one in found.recipients],
        "TotalRecipients": found.total,
        "Route": {
            "Transport": found.transport,
            "ReturnPathHost": found.return_path,
            "RequireTLS": found.require_tls,
            "Destinations": [_destination(one) for one in found.destinations],
        },
        "RenderedHeaders": found.headers,
        "Size": found.size,
        "Alignment": None if found.forecast is None else _alignment(found.forecast),
    }


def _destination(one: Destination) -> dict[str, Any]:
    """`TLS` is null where nobody knows, for the reason given."""
    tls = None if one.tls is None else {"Policy": one.tls.policy, "Detail": one.tls.detail}
    return {"Domain": one.domain, "Hosts": one.hosts, "Reason": one.reason, "TLS": tls}


def _recipient(one: Recipient) -> dict[str, Any]:
    if one.suppressed is None:
        return {"Recipient": one.address, "Fate": "sent", "Reason": "", "Detail": ""}
    why = one.suppressed
    return {"Recipient": one.address, "Fate": "suppressed", "Reason": why.reason, "Detail": why.detail}


def _alignment(found: Forecast) -> dict[str, Any]:
    keys = [{"Selector": key.name, "Algorithm": key.algorithm, "Result": key.result} for key in found.selectors]
    return {
        "From": found.from_domain,
        "SPF": _check(found.spf),
        "DKIM": _check(found.dkim) | {"Selectors": keys},
        "DMARC": {
            "Policy": found.policy,
            "PolicyDomain": found.policy_domain,
            "Result": found.result,
            "Reason": found.reason,
        },
    }


def _check(one: Check) -> dict[str, Any]:
    """`Aligned` is null where DNS did not tell."""
    return {
        "Domain": one.domain,
        "Mode": "strict" if one.strict else "relaxed",
        "Aligned": one.aligned,
        "Result": one.result,
        "Reason": one.reason,
    }
