"""The answers of the command door: the `Success`/`ErrorCode` envelope and its general numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from commands.registry import Command
from commands.schema import UNDOCUMENTED, Fault

NOT_AUTHENTICATED = 99998
NOT_PRIVILEGED = 99999
NOT_JSON = 100000
NO_METHOD = 100001
NO_COMMAND = 100003
FAILED = 100005


@dataclass(frozen=True, slots=True)
class Answer:
    """A body to be rendered as JSON or XML, and the HTTP status that goes with it."""

    body: dict[str, Any]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    outcome: str = "ok"  # for the metrics: ok | refused | failed


def success(fields: Mapping[str, Any]) -> Answer:
    return Answer({"Success": True, "ErrorCode": 0, **fields})


def general(code: int, text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A refusal that is the same for every command: always one number, never a list."""
    outcome = "failed" if status >= 500 else "refused"
    body = {"Success": False, "ErrorCode": code, "ErrorText": text}
    return Answer(body, status, headers or {}, outcome)


def not_authenticated() -> Answer:
    return general(NOT_AUTHENTICATED, "Authentication failure or session expired")


def not_privileged() -> Answer:
    return general(NOT_PRIVILEGED, "Not enough privileges")


def not_json() -> Answer:
    return general(NOT_JSON, "The request body is not a JSON object", 400)


def no_method(method: str) -> Answer:
    return general(NO_METHOD, f"Method {method} is not supported", 400, {"Allow": "DELETE, GET, POST"})


def no_command(name: str) -> Answer:
    text = f'Invalid API command: "{name}" not found.'
    answer = general(NO_COMMAND, text, 400)
    answer.body["Errors"] = [{"Code": NO_COMMAND, "Message": text}]
    return answer


def undocumented(text: str) -> Answer:
    """A fault that the document gives no number."""
    return general(UNDOCUMENTED, text)


def unavailable(seconds: int) -> Answer:
    text = "The service is unavailable for a moment; nothing was stored"
    return general(FAILED, text, 503, {"Retry-After": str(seconds)})


def failed(request_id: str) -> Answer:
    return general(FAILED, f"An unexpected failure happened. Request id: {request_id}", 500)


def faults(command: Command, found: Sequence[Fault]) -> Answer:
    """Refused parameters: all numbers where the command answers lists, else the first."""
    numbered: dict[int, str] = {}
    for fault in found:
        text = fault.text if fault.code == UNDOCUMENTED else command.errors.get(fault.code, fault.text)
        numbered.setdefault(fault.code, text)
    return refusal(command, numbered)


def listed(command: Command, codes: Mapping[int, str]) -> Answer:
    """Several numbers at once: the lowest as the answer's own, beside it all of them in `Errors`."""
    numbered = {code: codes[code] or command.errors.get(code, "") for code in sorted(codes)}
    answer = refusal(command, numbered)
    answer.body["Errors"] = [{"Code": code, "Message": text} for code, text in numbered.items()]
    return answer


def refusal(command: Command, numbered: Mapping[int, str]) -> Answer:
    """A failure in the command's own shape; `numbered` has texts by number, in order."""
    codes, texts = list(numbered), list(numbered.values())
    body: dict[str, Any] = {"Success": False}
    body["ErrorCode"] = codes if command.error_list else codes[0]
    if command.error_message:
        body["ErrorMessage"] = texts[0]
    body["ErrorText"] = texts if command.error_list else texts[0]
    return Answer(body, outcome="refused")
