"""Whole suppression lists as CSV: ImportSuppressions and ExportSuppressions."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Day, Id, Params, Text, Whole
from commands.suppressions import REASONS_DOC
from gateway import errors
from gateway.services import suppression_csv, suppression_files
from gateway.services.identity import Caller

_DATA_MOST = 32 * 1024 * 1024


class ImportSuppressionsParams(Params):
    Data = Text(
        missing=1,
        invalid=2,
        max=_DATA_MOST,
        doc="CSV with the columns of an export, EmailAddress alone is enough; or one address a line",
        example="EmailAddress,Reason\njane@example.com,unsubscribe\n",
    )
    DomainID = Id(required=False, doc="The sender domain of lines in a file without a Domain column")
    Reason = Text(required=False, max=32, doc=f"Of lines without one: {REASONS_DOC}; manual without it")
    ExpiresAt = Day(required=False, end=True, doc="The end of lines in a file without an ExpiresAt column")


class ExportSuppressionsParams(Params):
    DomainID = Id(required=False, doc="A sender domain: what it keeps to, the rows of the whole account too")
    RetrieveCount = Whole(
        required=False,
        low=1,
        high=suppression_files.EXPORTED_MOST,
        clamp=True,
        doc="Rows of one piece (10000 at most)",
    )
    Cursor = Text(required=False, max=32, doc="The NextCursor of the piece before")


@command(
    "EmailGateway.ImportSuppressions",
    summary="Put the addresses of a CSV file on the suppression list",
    params=ImportSuppressionsParams,
    errors={
        1: "Missing required parameter: Data",
        2: "Data cannot be read as CSV with addresses",
        3: "Failed to retrieve sender domain",
        4: "Reason is unknown",
    },
    refusals={errors.UnknownReason: 4, errors.Invalid: 2, errors.NotFound: 3},
    answer={
        "Added": 1,
        "Known": 0,
        "Invalid": 1,
        "InvalidLines": [{"Line": 3, "EmailAddress": "nobody", "Error": "is not an email address"}],
        "IgnoredColumns": [],
        "Rule": "import:019b76da-a800-7000-8000-000000000001",
    },
)
def import_suppressions(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    done = suppression_files.import_(
        caller=caller,
        text=params["Data"],
        domain_id=params.get("DomainID"),
        reason=params.get("Reason", "manual").strip().lower(),
        expires_ms=params.get("ExpiresAt"),
    )
    return {
        "Added": done.added,
        "Known": done.known,
        "Invalid": len(done.invalid),
        "InvalidLines": [{"Line": bad.line, "EmailAddress": bad.address, "Error": bad.error} for bad in done.invalid],
        "IgnoredColumns": done.ignored,
        "Rule": done.rule,
    }


@command(
    "EmailGateway.ExportSuppressions",
    summary="Export the suppression list as CSV, piece by piece",
    params=ExportSuppressionsParams,
    errors={1: "Failed to retrieve sender domain", 2: "Cursor is not one of an export"},
    refusals={errors.NotFound: 1, errors.Invalid: 2},
    answer={
        "ContentType": "text/csv; charset=utf-8",
        "FileName": "suppressions.csv",
        "Records": 1,
        "Data": "EmailAddress,Domain,…\njane@example.com,,…\n",
        "NextCursor": "",
    },
)
def export_suppressions(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    cursor = params.get("Cursor", "")
    rows, behind = suppression_files.export(
        caller=caller,
        domain_id=params.get("DomainID"),
        cursor=cursor,
        count=params.get("RetrieveCount", suppression_files.EXPORTED_MOST),
    )
    return {
        "ContentType": "text/csv; charset=utf-8",
        "FileName": "suppressions.csv",
        "Records": len(rows),
        "Data": suppression_csv.write(rows, heading=not cursor),
        "NextCursor": behind,
    }
