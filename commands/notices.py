"""What happened to the domains and keys of an account: GetNotices."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Id, Params, Text, Whole
from gateway import clock, errors
from gateway.services import notices
from gateway.services.identity import Caller
from models.vocabulary import NoticeKind


class GetNoticesParams(Params):
    DomainID = Id(required=False, doc="Only those of this domain, which may be deleted")
    Kind = Text(required=False, choices=[kind.value for kind in NoticeKind], doc="Only those of this kind")
    Before = Whole(required=False, low=1, doc="Only those with a NoticeID below this one: the last of the page before")
    RetrieveCount = Whole(required=False, low=1, high=100, clamp=True, doc="How many to return, at most 100")


@command(
    "EmailGateway.GetNotices",
    summary="List what happened to domains and their DKIM keys, the newest first",
    params=GetNoticesParams,
    errors={1: "Unable to retrieve sender domain"},
    refusals={errors.NotFound: 1},
    answer={
        "Notices": [
            {
                "NoticeID": 17,
                "DomainID": "123",
                "Kind": "domain.records_drifted",
                "At": "2026-01-01 12:00:00",
                "Data": {"domain": "example.com"},  # and what belongs to its kind
            }
        ]
    },
    permission="read:domains",
)
def get_notices(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = notices.list_(
        caller=caller,
        domain_id=params.get("DomainID"),
        kind=params.get("Kind"),
        before=params.get("Before"),
        count=params.get("RetrieveCount", notices.MOST_LISTED),
    )
    return {
        "Notices": [
            {
                "NoticeID": one.id,
                "DomainID": str(one.domain_id) if one.domain_id is not None else "",
                "Kind": one.kind,
                "At": clock.sql_text(one.at_ms),
                "Data": one.data,
            }
            for one in found
        ]
    }
