"""`/v1/audit-logs`: who called what and who changed what, signed, as pages and as files."""

from __future__ import annotations

from typing import Any

from flask import Response

from gateway import clock
from gateway.services import api_keys, audit_files, audit_log
from gateway.services.audit_log import KINDS, RESULTS, Wanted
from gateway.services.identity import Caller
from web.rest import fields, paging
from web.rest.v1.operation import operation

DIALECTS = {"mailersio", "octeth"}
FORMATS = {"jsonl": "application/x-ndjson", "csv": "text/csv"}
EXAMPLE: dict[str, Any] = {
    "id": "aud_01K0Q4T2X8Z3V5N7B9C1D3F5G7",
    "sequence": 4711,
    "created_at": "2026-04-19T10:24:11.042Z",
    "account_id": 1,
    "kind": "change",
    "actor": "jane@example.com",
    "key": None,
    "door": "v1",
    "action": "webhook.update",
    "object": "webhook:7",
    "ip": "192.0.2.1",
    "request_id": "0198c3a0-0000-7000-8000-000000000000",
    "result": "ok",
    "status": None,
    "code": "",
    "before": None,
    "after": None,
    "previous_hash": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "signature": None,
}
_HEAD = {
    "sequence": 4711, "hash": EXAMPLE["hash"], "first_sequence": 1, "first_previous_hash": "0" * 64,
    "signed_at": "2026-04-19T10:24:15.000Z", "signature": "c0ffee", "public_key": "d75a98",
}  # fmt: skip


class _Filters(fields.Params):
    key = fields.Text(max=64, load_default="", doc="With this key: its id or its prefix")
    actor = fields.Text(max=254, load_default="", doc="By this user; a `*` at the end stands for anything")
    user = fields.Text(max=254, load_default="", doc="As actor")
    workspace = fields.Text(max=64, load_default="", doc="Of this workspace; a key reads those of its own alone")
    action = fields.Text(max=120, load_default="", doc="`domain.update`, `GET /v1/lists`, or with a `*` at the end")
    object = fields.Text(max=320, load_default="", doc="`webhook:7`, a recipient's address, or with a `*` at the end")
    kind = fields.Text(choices=KINDS, doc="What was called, or what was changed")
    result = fields.Text(choices=RESULTS, doc="What became of the calls")
    request_id = fields.Text(max=64, load_default="", doc="What belongs to this request")
    since = fields.Moment(doc="At or after this time")
    until = fields.Moment(doc="At or before this time")


class _List(_Filters, fields.Listing):
    pass


class _Export(_Filters):
    format = fields.Text(choices=tuple(FORMATS), load_default="jsonl", doc="JSON, one entry a line, or CSV")


@operation(
    "GET", "/audit-logs", permission="read:audit", summary="List entries of the audit log, the newest first",
    params=_List, answer={"data": [EXAMPLE], "has_more": False, "next_cursor": None}, dialects=DIALECTS,
)  # fmt: skip
def list_audit_logs(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """A page may be short, or empty, and still have a next one, where little of what was looked at fits."""
    page = audit_log.list_(
        caller=caller, wanted=_wanted(caller, params), before=paging.last_id(params["cursor"]), count=params["limit"]
    )
    following = page.next_seq
    return {
        "data": page.entries,
        "has_more": following is not None,
        "next_cursor": None if following is None else paging.cursor(following),
    }


@operation(
    "GET", "/audit-logs/export", permission="read:audit", summary="All entries that fit, the oldest first, as a file",
    params=_Export, dialects=DIALECTS,
)  # fmt: skip
def export_audit_logs(caller: Caller, params: dict[str, Any]) -> Response:
    """Sent as it is read, however much it is."""
    kind = params["format"]
    entries = audit_log.export(caller=caller, wanted=_wanted(caller, params))
    name = f"audit-{clock.rfc3339(clock.now_ms())[:10]}.{kind}"
    body = audit_files.as_csv(entries) if kind == "csv" else audit_files.as_lines(entries)
    return Response(body, mimetype=FORMATS[kind], headers={"Content-Disposition": f'attachment; filename="{name}"'})


@operation(
    "GET", "/audit-logs/head", permission="read:audit", summary="The signed end of the audit log", answer=_HEAD,
    dialects=DIALECTS,
)  # fmt: skip
def get_audit_head(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """Kept elsewhere, it shows later that nothing was taken off the end."""
    return audit_log.head(caller=caller)


@operation(
    "GET", "/audit-logs/<entry_id>", permission="read:audit", summary="Show one entry of the audit log",
    answer=EXAMPLE, dialects=DIALECTS,
)  # fmt: skip
def get_audit_log(caller: Caller, params: dict[str, Any], entry_id: str) -> dict[str, Any]:
    return audit_log.find(caller=caller, entry_id=entry_id)


def _wanted(caller: Caller, params: dict[str, Any]) -> Wanted:
    names = ("action", "object", "request_id")
    key = params["key"].strip()
    if key.startswith(f"{api_keys.PREFIX}_"):
        key = str(api_keys.find(caller=caller, key_id=key).id)
    return Wanted(
        **{name: params[name].strip() for name in names},
        key=key, actor=(params["actor"] or params["user"]).strip(), workspace=params["workspace"].strip(),
        kind=params.get("kind", ""), result=params.get("result", ""), since_ms=params.get("since"),
        until_ms=params.get("until"),
    )  # fmt: skip
