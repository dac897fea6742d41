"""What an account did, and who changed what: GetAuditLog."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Day, Params, Text, Whole
from gateway.services import audit_log
from gateway.services.audit_log import KINDS, RESULTS, Wanted
from gateway.services.identity import Caller


class GetAuditLogParams(Params):
    Key = Text(required=False, max=32, doc="Only calls with this key: its id or its prefix")
    Actor = Text(required=False, max=254, doc="Only by this user; a * at the end stands for anything")
    Action = Text(required=False, max=120, doc="Only this action, such as domain.update or domain.*")
    Object = Text(required=False, max=320, doc="Only about this object, such as domain:12")
    Kind = Text(required=False, choices=KINDS, doc="Only calls, or only changes")
    Result = Text(required=False, choices=RESULTS, doc="Only calls with this result")
    StartDate = Day(required=False, doc="Only from this time on")
    EndDate = Day(required=False, end=True, doc="Only up to this time; a date includes its day")
    Before = Whole(
        required=False, low=1, doc="Only those with a Sequence below this one: NextBefore of the page before"
    )
    RetrieveCount = Whole(required=False, low=1, high=100, clamp=True, doc="How many to return, at most 100")


@command(
    "EmailGateway.GetAuditLog",
    summary="List calls and changes of the account, the newest first",
    params=GetAuditLogParams,
    answer={
        "Entries": [
            {
                "ID": "aud_01K0Q4T2X8Z3V5N7B9C1D3F5G7",
                "Sequence": 4711,
                "At": "2026-01-01T12:00:00.042Z",
                "Kind": "change",
                "Actor": "jane@example.com",
                "APIKeyID": None,
                "APIKeyPrefix": "",
                "Door": "command",
                "Action": "domain.update",
                "Object": "domain:12",
                "IPAddress": "192.0.2.1",
                "RequestID": "0198c3a0-0000-7000-8000-000000000000",
                "Result": "ok",
                "Status": None,
                "Code": "",
                "Before": None,
                "After": None,
                "PreviousHash": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
                "Hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "Signature": None,
            }
        ],
        "NextBefore": None,
    },
    permission="read:audit",
)
def get_audit_log(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """`NextBefore` is null at the end of the log; a page may be short where little of what was looked at fits."""
    wanted = Wanted(
        key=params.get("Key", ""), actor=params.get("Actor", ""), action=params.get("Action", ""),
        object=params.get("Object", ""), kind=params.get("Kind", ""), result=params.get("Result", ""),
        since_ms=params.get("StartDate"), until_ms=params.get("EndDate"),
    )  # fmt: skip
    page = audit_log.list_(
        caller=caller, wanted=wanted, before=params.get("Before"), count=params.get("RetrieveCount", 100)
    )
    return {"Entries": [_row(entry) for entry in page.entries], "NextBefore": page.next_seq}


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    key = entry["key"] or {"id": None, "prefix": ""}
    return {
        "ID": entry["id"], "Sequence": entry["sequence"], "At": entry["created_at"], "Kind": entry["kind"],
        "Actor": entry["actor"], "APIKeyID": key["id"], "APIKeyPrefix": key["prefix"], "Door": entry["door"],
        "Action": entry["action"], "Object": entry["object"], "IPAddress": entry["ip"],
        "RequestID": entry["request_id"], "Result": entry["result"], "Status": entry["status"], "Code": entry["code"],
        "Before": entry["before"], "After": entry["after"], "PreviousHash": entry["previous_hash"],
        "Hash": entry["hash"], "Signature": entry["signature"],
    }  # fmt: skip
