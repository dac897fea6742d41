"""Every request of somebody recognised goes to the audit log, whichever door it came through."""

from __future__ import annotations

import re

from flask import Flask, Response, g, request

from gateway.services import audit_calls, audit_redaction
from gateway.services.audit_calls import FAILED, OK, REFUSED

_DOORS = (("/api.php", "command"), ("/v1/", "v1"), ("/", "rest"))
_ID = re.compile(r"_?(?:u?id)\Z")


def register(app: Flask) -> None:
    """Begin a call with every request and keep it with its answer."""
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(_forget)


def _begin() -> None:
    door = next(door for prefix, door in _DOORS if request.path.startswith(prefix))
    audit_calls.begin(door, ip=request.remote_addr or "", request_id=g.get("request_id", ""))


def _end(response: Response) -> Response:
    call = audit_calls.end()
    if call is None or (call.caller is None and not call.actor):
        return response
    call.status = response.status_code
    if call.result == OK:
        call.result = OK if response.status_code < 400 else REFUSED if response.status_code < 500 else FAILED
    if not call.action:
        call.action = f"{request.method} {request.url_rule.rule if request.url_rule is not None else request.path}"
    if not call.code and response.status_code >= 400:
        call.code = _code(response)
    if not call.what:
        call.what = _object(call.caller.account_id if call.caller is not None else 0)
    audit_calls.keep(call)
    return response


def _code(response: Response) -> str:
    """What the refusal is called on its surface."""
    body = response.get_json(silent=True) if response.is_json else None
    if not isinstance(body, dict):
        return ""
    listed = body.get("Errors")
    first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    return str(body.get("code") or first.get("Code") or "")[:64]


def _object(account_id: int) -> str:
    """Of the last value in the path, named as in the route: `<webhook_id>` is `webhook:…`."""
    for name, value in reversed(list((request.view_args or {}).items())):
        if "@" in str(value):
            return audit_redaction.person(account_id, str(value))
        return audit_redaction.text(f"{_ID.sub('', name) or name}:{value}")
    return ""


def _forget(_: BaseException | None) -> None:
    audit_calls.end()
