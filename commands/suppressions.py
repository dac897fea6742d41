"""The suppression list: GetSuppressions, AddSuppression, DeleteSuppression and UndoSuppressions."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Day, Flag, Id, Params, Text, Texts, Whole
from gateway import clock, errors
from gateway.services import suppression_list
from gateway.services.identity import Caller
from gateway.services.suppression_list import Listed, Wanted

REASONS_DOC = "manual, unsubscribe, bounce or complaint"
_EXAMPLE = {
    "EmailAddress": "jane@example.com",
    "DomainID": "123",
    "ListID": "",
    "Domain": "yourdomain.com",
    "Reason": "bounce",
    "Rule": "bounce:5.1.1",
    "Detail": "550 5.1.1 no such user",
    "MX": "mx.example.com",
    "MessageID": "019b76da-a800-7000-8000-000000000001",
    "CreatedAt": "2026-01-01 12:00:00",
    "ExpiresAt": None,
}


class GetSuppressionsParams(Params):
    DomainID = Id(required=False, doc="A sender domain: what it keeps to, the rows of the whole account too")
    EmailAddress = Text(required=False, max=320, doc="One address")
    Reason = Text(required=False, max=32, doc=REASONS_DOC, example="bounce")
    Rule = Text(required=False, max=64, doc="A rule, or how it begins", example="bounce:5.1")
    Since = Day(required=False, doc="Put on the list at this time or later")
    Until = Day(required=False, end=True, doc="Put on the list at this time or earlier")
    StartFrom = Whole(required=False, doc="How many rows to skip")
    RetrieveCount = Whole(required=False, low=1, high=100, clamp=True, doc="How many to return, at most 100")


class AddSuppressionParams(Params):
    EmailAddress = Texts(missing=1, invalid=2, max=1000, doc="An address or a list of up to 1,000")
    DomainID = Id(required=False, doc="The sender domain that keeps to it; without one the whole account does")
    Reason = Text(required=False, max=32, doc=f"{REASONS_DOC}; manual without it")
    Detail = Text(required=False, max=4096, doc="A note")
    ExpiresAt = Day(required=False, invalid=5, end=True, doc="When it ends; without it when it is deleted")


class DeleteSuppressionParams(Params):
    EmailAddress = Text(missing=1, max=320, doc="The address")
    DomainID = Id(required=False, doc="The sender domain; without one the rows of the whole account")
    Reason = Text(required=False, max=32, doc=f"Only this reason: {REASONS_DOC}")


class UndoSuppressionsParams(Params):
    Rule = Text(
        missing=1,
        max=64,
        doc="automatic (all that act by themselves), bounce, bounce:5.1.1, complaint, strikes, manual, import …",
        example="bounce",
    )
    From = Day(required=False, doc="What was put on the list at this time or later", example="2026-01-31 12:00:00")
    To = Day(required=False, end=True, doc="What was put on the list at this time or earlier")
    DomainID = Id(required=False, doc="Only rows of this sender domain")
    MX = Text(required=False, max=255, doc="Only refusals by this host, or by hosts under this name")
    DryRun = Flag(required=False, doc="1 only counts")


@command(
    "EmailGateway.GetSuppressions",
    summary="List who must not be written to, and why",
    params=GetSuppressionsParams,
    errors={1: "Reason is unknown", 2: "Failed to retrieve sender domain"},
    refusals={errors.Invalid: 1, errors.NotFound: 2},
    answer={"Suppressions": [_EXAMPLE], "TotalRecords": 1},
)
def get_suppressions(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    wanted = Wanted(
        domain_id=params.get("DomainID"),
        address=params.get("EmailAddress", ""),
        reason=_word(params, "Reason", ""),
        rule=params.get("Rule", ""),
        from_ms=params.get("Since"),
        to_ms=params.get("Until"),
    )
    found, total = suppression_list.list_(
        caller=caller,
        wanted=wanted,
        start=params.get("StartFrom", 0),
        count=params.get("RetrieveCount", suppression_list.MOST_LISTED),
    )
    return {"Suppressions": [_shown(one) for one in found], "TotalRecords": total}


@command(
    "EmailGateway.AddSuppression",
    summary="Never write to these addresses again",
    params=AddSuppressionParams,
    errors={
        1: "Missing required parameter: EmailAddress",
        2: "EmailAddress has no email address, or too many",
        3: "Failed to retrieve sender domain",
        4: "Reason is unknown",
        5: "ExpiresAt is not a time that lies ahead",
    },
    refusals={
        errors.InvalidAddress: 2,
        errors.TooManyAtOnce: 2,
        errors.NotFound: 3,
        errors.UnknownReason: 4,
        errors.Invalid: 5,
    },
    answer={"Added": 1, "Known": 0, "Invalid": ["nobody"]},
)
def add_suppression(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    added, known, bad = suppression_list.add(
        caller=caller,
        addresses=params["EmailAddress"],
        domain_id=params.get("DomainID"),
        reason=_word(params, "Reason", "manual"),
        detail=params.get("Detail", ""),
        expires_ms=params.get("ExpiresAt"),
    )
    return {"Added": added, "Known": known, "Invalid": bad}


@command(
    "EmailGateway.DeleteSuppression",
    summary="Take an address off the suppression list",
    params=DeleteSuppressionParams,
    errors={
        1: "Missing required parameter: EmailAddress",
        2: "The address is not on the list",
        3: "Failed to retrieve sender domain",
    },
    refusals={errors.EntryNotFound: 2, errors.NotFound: 3},
    answer={"Deleted": 1},
)
def delete_suppression(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    gone = suppression_list.delete(
        caller=caller,
        address=params["EmailAddress"],
        domain_id=params.get("DomainID"),
        reason=_word(params, "Reason", "") or None,
    )
    return {"Deleted": gone}


@command(
    "EmailGateway.UndoSuppressions",
    summary="Take back what one rule put on the list between two times",
    params=UndoSuppressionsParams,
    errors={
        1: "Missing required parameter: Rule",
        2: "Rule is unknown or stands for what people wanted, From is after To, or MX is no host name",
        3: "Failed to retrieve sender domain",
    },
    refusals={errors.Invalid: 2, errors.NotFound: 3},
    answer={"Removed": 12, "DryRun": False},
)
def undo_suppressions(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    dry_run = params.get("DryRun", False)
    count = suppression_list.undo(
        caller=caller,
        rule=_word(params, "Rule", ""),
        from_ms=params.get("From"),
        to_ms=params.get("To"),
        domain_id=params.get("DomainID"),
        mx=params.get("MX", ""),
        dry_run=dry_run,
    )
    return {"Removed": count, "DryRun": dry_run}


def _word(params: dict[str, Any], name: str, default: str) -> str:
    return str(params.get(name, default)).strip().lower()


def _shown(row: Listed) -> dict[str, Any]:
    return {
        "EmailAddress": row.address,
        "DomainID": str(row.domain_id) if row.domain_id > 0 else "",
        "ListID": str(row.list_id or ""),
        "Domain": row.domain,
        "Reason": row.reason,
        "Rule": row.rule,
        "Detail": row.detail,
        "MX": row.mx,
        "MessageID": str(row.message or ""),
        "CreatedAt": clock.sql_text(row.created_ms),
        "ExpiresAt": None if row.expires_ms is None else clock.sql_text(row.expires_ms),
    }
