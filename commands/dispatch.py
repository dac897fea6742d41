"""From the fields of a request to an answer: find the command, know the caller, check, call."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter

from commands import envelope, registry
from commands.envelope import Answer
from commands.registry import Command, Needs, Refused, Visitor
from commands.schema import UNDOCUMENTED
from gateway import errors
from gateway.services import audit_calls, audit_redaction, identity
from gateway.services.audit_calls import Call
from models.database import StoreUnavailable

_log = logging.getLogger("commandpost.commands")
_OBJECTS = {
    "messageid": "message",
    "webhookdeliveryid": "webhook_delivery",
    "webhookid": "webhook",
    "apiid": "key",
    "apikeyid": "key",
    "smtpid": "smtp",
    "subscriberid": "subscriber",
    "listid": "list",
    "templateid": "template",
    "limitid": "limit",
    "domainid": "domain",
    "senderdomainid": "domain",
}
"""Parameters that name what a command is about, the nearest first."""
_CALLS = Counter("commandpost_commands", "Commands answered, by name and outcome", ["command", "outcome"])


def dispatch(
    fields: Mapping[str, Any], *, ip: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """Answer one request whose names are in lower case; never raises. `headers` are those of HTTP."""
    name = _text(fields, "command")
    command = registry.find(name) if name else None
    call = audit_calls.current()
    if command is None:
        answer = envelope.no_command(name[:255])
    else:
        answer = _answer(command, fields, Visitor(ip, headers or {}), request_id)
        if call is not None:
            _tell(call, command, fields, answer)
    _CALLS.labels(command.name if command else "unknown", answer.outcome).inc()
    return answer


def _tell(call: Call, command: Command, fields: Mapping[str, Any], answer: Answer) -> None:
    """What the audit log is to say of the call; nothing of what it was given but the number of its object."""
    call.action, call.result = command.name, answer.outcome
    if answer.outcome != "ok":
        call.code = str(answer.body.get("ErrorCode", ""))[:64]
    if not call.what:
        found = next((name for name in _OBJECTS if isinstance(fields.get(name), (str, int)) and fields[name]), None)
        if found is not None:
            call.what = audit_redaction.text(f"{_OBJECTS[found]}:{fields[found]}")[:190]


def _answer(command: Command, fields: Mapping[str, Any], visitor: Visitor, request_id: str) -> Answer:
    try:
        who = _who(command, fields, visitor)
        if isinstance(who, Answer):
            return who
        params, faults = command.params.check(fields)
        if faults:
            return envelope.faults(command, faults)
        return envelope.success(command.handler(who, params))
    except Refused as refused:
        answer = envelope.listed(command, refused.codes)
        answer.body.update(refused.more)
        return answer
    except errors.Unavailable as refusal:
        return envelope.unavailable(int(str(refusal.data.get("retry_after", StoreUnavailable.retry_after))))
    except errors.GatewayError as refusal:
        return _refused(command, refusal)
    except StoreUnavailable as error:
        _log.warning("store_unavailable", extra={"request_id": request_id, "command": command.name}, exc_info=True)
        return envelope.unavailable(error.retry_after)
    except Exception:
        _log.exception("command_failed", extra={"request_id": request_id, "command": command.name})
        return envelope.failed(request_id)


def _who(command: Command, fields: Mapping[str, Any], visitor: Visitor) -> identity.Caller | Visitor | Answer:
    if command.needs in (Needs.ANYONE, Needs.SENDER):
        return visitor
    try:
        caller = identity.authenticate(
            session_id=_text(fields, "sessionid"),
            api_key=_text(fields, "apikey"),
            admin_api_key=_text(fields, "adminapikey"),
        )
    except errors.NotAuthenticated:
        return envelope.not_authenticated()
    if (command.needs is Needs.OPERATOR and not caller.is_operator) or not caller.allows(command.permission):
        return envelope.not_privileged()
    return caller


def _refused(command: Command, refusal: errors.GatewayError) -> Answer:
    number = command.number(refusal)
    if number is not None:
        answer = envelope.refusal(command, {number: command.errors.get(number, refusal.message)})
        if list(command.refusals.values()).count(number) > 1 and not isinstance(
            refusal, (errors.NotAuthenticated, errors.RateLimited)
        ):
            # One number for several causes: the text says which. A failed login never does.
            answer.body["ErrorText"] = [refusal.message] if command.error_list else refusal.message
        return answer
    if isinstance(refusal, errors.NotAllowed):
        return envelope.not_privileged()
    if isinstance(refusal, errors.NotAuthenticated):
        return envelope.not_authenticated()
    return envelope.refusal(command, {UNDOCUMENTED: refusal.message})


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value.strip() if isinstance(value, str) else ""
