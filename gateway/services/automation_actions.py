"""What an automation does: a tree of actions, checked, and laid out as steps that a run goes through one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway import config, errors
from gateway.services import letters, references, segments
from gateway.services.identity import Caller
from gateway.transports import http_call

SEND, WAIT, BRANCH, JUMP, EXIT = "send", "wait", "branch", "jump", "exit"
FIELD, TAG, SUBSCRIBE, UNSUBSCRIBE, WEBHOOK, NOTICE = "field", "tag", "subscribe", "unsubscribe", "webhook", "notice"
TYPES = (
    "send", "wait", "branch", "set_field", "remove_field", "add_tag", "remove_tag", "subscribe", "unsubscribe",
    "webhook", "notice", "exit",
)  # fmt: skip
_SAME = {"send_email": "send", "email": "send", "delay": "wait", "condition": "branch"}
ACTIONS_MOST = 100
DEPTH_MOST = 5
WAIT_MOST_DAYS = 366
_NAME_LENGTH = 64
_VALUE_LENGTH = 4_096
_DURATION = re.compile(r"(\d{1,9})\s*(s|sec|second|m|min|minute|h|hour|d|day|w|week)s?\Z", re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PARTS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400, "weeks": 604_800}
SENT_WORDS = ("delivered", "opened", "clicked", "bounced", "complained")

Step = dict[str, Any]
"""`do`, `path` and what belongs to it; a branch has `if` and `else` (the step to go on with), a jump `to`."""


class _Reader:
    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.faults: list[dict[str, str]] = []
        self.program: list[Step] = []
        self._count = 0

    def fault(self, path: str, message: str) -> None:
        if len(self.faults) < 20:
            self.faults.append({"field": path, "message": message})

    def actions(self, given: Any, path: str, depth: int) -> None:
        if not isinstance(given, list) or (not given and depth == 0):
            self.fault(path, "Should be a list of actions.")
            return
        if depth > DEPTH_MOST:
            self.fault(path, f"Branches are nested deeper than {DEPTH_MOST}.")
            return
        for at, action in enumerate(given):
            self._count += 1
            if self._count > ACTIONS_MOST:
                self.fault("actions", f"Should have at most {ACTIONS_MOST} actions.")
                return
            here = f"{path}.{at}"
            if isinstance(action, Mapping) and isinstance(action.get("type"), str):
                action = {**action, "type": _SAME.get(action["type"], action["type"])}
            if not isinstance(action, Mapping) or action.get("type") not in TYPES:
                self.fault(f"{here}.type", "Should be one of " + ", ".join(TYPES) + ".")
            elif action["type"] == "branch":
                self._branch(action, here, depth)
            else:
                self.program.append({"path": here.removeprefix("actions."), **self._step(action, here)})

    def _step(self, action: Mapping[str, Any], path: str) -> Step:
        match action["type"]:
            case "send":
                return {"do": SEND, "letter": self._letter(action, path)}
            case "wait":
                return {"do": WAIT, "ms": self._wait(action, path)}
            case "set_field":
                return {"do": FIELD, "name": self._name(action, "field", path), "value": self._value(action, path)}
            case "remove_field":
                return {"do": FIELD, "name": self._name(action, "field", path), "value": None}
            case "add_tag":
                return {"do": TAG, "tag": self._name(action, "tag", path), "there": True}
            case "remove_tag":
                return {"do": TAG, "tag": self._name(action, "tag", path), "there": False}
            case "subscribe":
                return {"do": SUBSCRIBE, "list_id": self._list(action, path)}
            case "unsubscribe":
                listed = None if action.get("list_id") is None else self._list(action, path)
                return {"do": UNSUBSCRIBE, "list_id": listed}
            case "webhook":
                return {"do": WEBHOOK, "url": self._url(action, path)}
            case "notice":
                return {"do": NOTICE, "name": self._name(action, "name", path)}
        return {"do": EXIT}

    def _branch(self, action: Mapping[str, Any], path: str, depth: int) -> None:
        step: Step = {
            "do": BRANCH,
            "path": path.removeprefix("actions."),
            "if": self._condition(action.get("if"), path),
        }
        self.program.append(step)
        self.actions(action.get("then", []), f"{path}.then", depth + 1)
        jump: Step = {"do": JUMP, "path": path.removeprefix("actions.")}
        self.program.append(jump)
        step["else"] = len(self.program)
        self.actions(action.get("else", []), f"{path}.else", depth + 1)
        jump["to"] = len(self.program)

    def _condition(self, given: Any, path: str) -> Any:
        """`{"sent": "opened"}` asks for the messages of this run, everything else is a condition of segments."""
        if isinstance(given, Mapping) and "sent" in given:
            if given["sent"] not in SENT_WORDS or set(given) - {"sent"}:
                self.fault(f"{path}.if.sent", "Should be one of " + ", ".join(SENT_WORDS) + ", alone.")
            return dict(given)
        inner = given.get("not") if isinstance(given, Mapping) and set(given) == {"not"} else None
        if isinstance(inner, Mapping) and "sent" in inner:
            return {"not": self._condition(inner, path)}
        try:
            if not isinstance(given, Mapping):
                raise errors.InvalidFields("", fields=[{"field": "if", "message": "Should be a condition."}])
            segments.compile_(self.caller.account_id, given)
        except errors.InvalidFields as error:
            self._take(path, error, "conditions", "if")
        return given

    def _take(self, path: str, error: errors.InvalidFields, old: str = "", new: str = "") -> None:
        listed: Any = error.data["fields"]
        for one in listed:
            field = one["field"]
            if old and field.startswith(old):
                field = new + field.removeprefix(old)
            self.fault(f"{path}.{field}", one["message"])

    def _letter(self, action: Mapping[str, Any], path: str) -> letters.Letter:
        try:
            return letters.read(self.caller, {name: action[name] for name in letters.FIELDS if name in action})
        except errors.InvalidFields as error:
            self._take(path, error)
        except (errors.InvalidTemplate, errors.TemplateNotFound) as error:
            self.fault(f"{path}.{error.data['field']}", error.message)
        return {}

    def _wait(self, action: Mapping[str, Any], path: str) -> int:
        seconds = duration_s(action.get("duration", {name: action[name] for name in _PARTS if name in action}))
        if seconds is None or not 0 < seconds <= WAIT_MOST_DAYS * 86_400:
            self.fault(
                f"{path}.duration", f"Should be a duration such as 3d, 90m or 3600, {WAIT_MOST_DAYS} days at most."
            )
            return 0
        return seconds * 1000

    def _name(self, action: Mapping[str, Any], field: str, path: str) -> str:
        text = action.get(field)
        if not isinstance(text, str) or not 0 < len(text.strip()) <= _NAME_LENGTH or not text.isprintable():
            self.fault(f"{path}.{field}", f"Should be a text of 1 to {_NAME_LENGTH} printable characters.")
            return ""
        return text.strip()

    def _value(self, action: Mapping[str, Any], path: str) -> Any:
        value = action.get("value")
        if value is None or len(str(value)) > _VALUE_LENGTH:
            self.fault(f"{path}.value", f"Should be a value of at most {_VALUE_LENGTH} characters.")
        return value

    def _list(self, action: Mapping[str, Any], path: str) -> int:
        try:
            return references.audience(self.caller, {"list_id": action.get("list_id")})
        except errors.InvalidFields as error:
            self._take(path, error)
        except errors.NotFound as error:
            self.fault(f"{path}.{error.data['field']}", error.message)
        return 0

    def _url(self, action: Mapping[str, Any], path: str) -> str:
        url = action.get("url")
        try:
            if not isinstance(url, str):
                raise errors.InvalidUrl
            http_call.check(url, config.settings().webhook_allow)
            return url
        except errors.Invalid as error:
            self.fault(f"{path}.url", error.message.replace("WebhookURL", "The URL"))
            return ""


def word(step: Step) -> str:
    """The `type` of the action that the step was made of."""
    if step["do"] == FIELD:
        return "remove_field" if step["value"] is None else "set_field"
    if step["do"] == TAG:
        return "add_tag" if step["there"] else "remove_tag"
    return str(step["do"])


def read(caller: Caller, given: Any) -> list[Step]:
    """The program of the actions of a request.

    Raises `InvalidFields` with every fault's place, `NotAllowed` and `DomainNotVerified` for a From that is not
    the account's.
    """
    reader = _Reader(caller)
    reader.actions(given, "actions", 0)
    if reader.faults:
        first = reader.faults[0]
        raise errors.InvalidFields(f"{first['field']}: {first['message']}", fields=reader.faults)
    return reader.program


def duration_s(value: Any) -> int | None:
    """Seconds of `3d`, `90m`, a number of seconds, or `{"days": 3, "hours": 12}`; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        match = _DURATION.match(value.strip())
        return int(match[1]) * _UNITS[match[2][0].lower()] if match else None
    parts = value if isinstance(value, Mapping) and not set(value) - set(_PARTS) else {}
    if parts and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 10**9 for n in parts.values()):
        return sum(int(n) * _PARTS[name] for name, n in parts.items())
    return None
