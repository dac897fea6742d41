"""`/v1/domain-health`: whether DNS lets a domain's mail arrive."""

from __future__ import annotations

from typing import Any

from gateway.services import domain_health
from gateway.services.domain_health import Health
from gateway.services.identity import Caller
from web.rest import fields
from web.rest.v1.analytics_mailmark import one_or_all
from web.rest.v1.operation import operation

_EXAMPLE = {
    "domain": "example.com",
    "score": 83,
    "checkedAt": 1_790_000_000_000,
    "spf": "pass",
    "dkim": "pass",
    "dmarc": "warn",
    "mx": "pass",
    "ptr": "pass",
    "blacklist": "pass",
    "parts": [
        {
            "part": "dmarc",
            "status": "warn",
            "points": 10,
            "maxPoints": 20,
            "detail": "It asks receivers to do nothing about forged mail.",
            "records": [{"host": "_dmarc.example.com", "type": "TXT", "value": "v=DMARC1; p=quarantine"}],
            "facts": {"policy": "none"},
        }
    ],
    "history": [{"at": 1_790_000_000_000, "score": 83}],
}


class _Asked(fields.Params):
    domain = fields.Text(max=253, load_default="", doc="Only that domain, for a key of all")


@operation(
    "GET",
    "/domain-health",
    permission="read:analytics",
    summary="The last check of SPF, DKIM, DMARC, MX, blocklists and the like, with a score",
    params=_Asked,
    answer=_EXAMPLE,
    dialects=("mailmark",),
    org_wide=True,
)
def show_domain_health(caller: Caller, params: dict[str, Any]) -> Any:
    """A list of these for a key of all domains; each part names the exact records to publish."""
    return one_or_all(caller, [_shown(one) for one in domain_health.latest(caller=caller, name=params["domain"])])


def _shown(one: Health) -> dict[str, Any]:
    statuses = {finding.part: finding.status for finding in one.findings}
    return {
        "domain": one.domain,
        "score": one.score,
        "checkedAt": one.checked_ms,
        **{part: statuses.get(part) for part in ("spf", "dkim", "dmarc", "mx", "ptr")},
        "blacklist": statuses.get("blocklists"),
        "parts": [
            {
                "part": finding.part,
                "status": finding.status,
                "points": finding.points,
                "maxPoints": finding.most,
                "detail": finding.detail,
                "records": [{"host": r.host, "type": r.type, "value": r.value} for r in finding.records],
                "facts": finding.facts,
            }
            for finding in one.findings
        ],
        "history": [{"at": at_ms, "score": score} for at_ms, score in one.past],
    }
