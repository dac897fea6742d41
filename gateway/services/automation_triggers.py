"""What starts an automation: an event, a time or a condition; read, checked and shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway import clock, errors
from gateway.services import campaign_origins, references, schedules, segments
from gateway.services.identity import Caller
from models.vocabulary import EventKind

EVENT, TIME, CONDITION = "event", "time", "condition"
TYPES = (EVENT, TIME, CONDITION)
ADDED, UNSUBSCRIBED = "subscriber.added", "subscriber.unsubscribed"
MESSAGE_WORDS = tuple(kind.word for kind in EventKind if kind is not EventKind.ACCEPTED)
WORDS = (*MESSAGE_WORDS, ADDED, UNSUBSCRIBED)
"""Events that the gateway itself knows; any other name is an event of the account's own."""

_SAME = {
    "subscriber.created": ADDED, "subscribed": ADDED, "delivery": "delivered", "bounce": "bounced", "open": "opened",
    "click": "clicked", "complaint": "complained", "unsubscribe": "unsubscribed",
}  # fmt: skip
"""Other spellings of these."""

WORD_LENGTH = 64
CHECK_MINUTES = 5
CHECK_MOST = 1440
_OFFSET_MOST = 366
_FILTERS = ("list_id", "tag", "url", "campaign")
_TEXT_LENGTH = 255
_PASSED_MOST = 400
_CONDITIONS = re.compile(r"^conditions\b")

Trigger = dict[str, Any]
"""As it is stored: `type`, and by it `event` with filters, `at_ms` | `cron` | `field`, or `conditions`."""


class _Faults(list[dict[str, str]]):
    def add(self, field: str, message: str) -> None:
        self.append({"field": field, "message": message})


def read(caller: Caller, given: Any) -> Trigger:
    """The trigger that a request describes; raises `InvalidFields`."""
    faults = _Faults()
    if not isinstance(given, Mapping) or given.get("type") not in TYPES:
        faults.add("trigger.type", "Should be one of " + ", ".join(TYPES) + ".")
        raise _invalid(faults)
    reader = {EVENT: _event, TIME: _time, CONDITION: _condition}[given["type"]]
    try:
        trigger = reader(caller, given, faults)
    except errors.InvalidFields as error:
        listed: Any = error.data["fields"]
        faults += [{**one, "field": f"trigger.{_CONDITIONS.sub('if', one['field'])}"} for one in listed]
    except errors.NotFound as error:
        faults.add(f"trigger.{error.data['field']}", error.message)
    if faults:
        raise _invalid(faults)
    return {"type": given["type"], **trigger}


def _invalid(faults: _Faults) -> errors.InvalidFields:
    return errors.InvalidFields(f"{faults[0]['field']}: {faults[0]['message']}", fields=list(faults))


def word_of(value: Any) -> str:
    """The name of an event, lower-case and without `message.`; '' for what is none."""
    word = value.strip().lower().removeprefix("message.") if isinstance(value, str) else ""
    word = _SAME.get(word, word)
    return word if 0 < len(word) <= WORD_LENGTH and word.isprintable() and " " not in word else ""


def _event(caller: Caller, given: Mapping[str, Any], faults: _Faults) -> Trigger:
    word = word_of(given.get("event"))
    if not word:
        faults.add("trigger.event", f"Should be the name of an event, 1 to {WORD_LENGTH} characters without spaces.")
    found: Trigger = {"event": word}
    if given.get("list_id") is not None:
        found["list_id"] = references.audience(caller, {"list_id": given["list_id"]})
    for name in ("tag", "url"):
        text = given.get(name)
        if text is not None and not (isinstance(text, str) and 0 < len(text) <= _TEXT_LENGTH):
            faults.add(f"trigger.{name}", f"Should be a text of 1 to {_TEXT_LENGTH} characters.")
        elif text is not None:
            found[name] = text
    campaign = given.get("campaign")
    if campaign is not None:
        origin = campaign_origins.of(caller.account_id, campaign) if isinstance(campaign, str) else None
        if origin is None:
            faults.add("trigger.campaign", "Should be the id of a campaign.")
        found |= {"campaign": campaign, "origin": origin}
    return found


def _time(caller: Caller, given: Mapping[str, Any], faults: _Faults) -> Trigger:
    found: Trigger = {"list_id": references.audience(caller, given)}
    try:
        if given.get("field") is not None:
            found |= _relative(given, faults)
        elif given.get("cron") is not None or given.get("every") is not None:
            found["cron"] = schedules.cron_of(dict(given))
            if schedules.parse(found["cron"]).after_ms(clock.now_ms()) is None:
                faults.add("trigger.cron", "Never comes.")
        else:
            at_ms = clock.moment_ms(given.get("at"))
            if at_ms is None:
                faults.add("trigger.at", "Should be a time such as 2026-04-19T10:24:11Z, or every, cron or field.")
            elif at_ms < clock.now_ms() - 60_000:
                faults.add("trigger.at", "Should be in the future.")
            found["at_ms"] = at_ms
    except schedules.Unfit as error:
        faults.add("trigger", str(error))
    return found


def _relative(given: Mapping[str, Any], faults: _Faults) -> Trigger:
    name, offset = given["field"], given.get("offset_days", 0)
    if not isinstance(name, str) or not 0 < len(name) <= 64:
        faults.add("trigger.field", "Should be the name of a field, 1 to 64 characters.")
    if isinstance(offset, bool) or not isinstance(offset, int) or abs(offset) > _OFFSET_MOST:
        faults.add("trigger.offset_days", f"Should be a whole number from -{_OFFSET_MOST} to {_OFFSET_MOST}.")
    yearly = given.get("yearly", False)
    if not isinstance(yearly, bool):
        faults.add("trigger.yearly", "Should be true or false.")
    cron = schedules.cron_of({"every": "day", "at": given.get("at", "09:00")})
    return {"field": name, "offset_days": offset, "yearly": yearly, "cron": cron}


def _condition(caller: Caller, given: Mapping[str, Any], faults: _Faults) -> Trigger:
    found: Trigger = {"list_id": references.audience(caller, given)}
    conditions = given.get("if", given.get("conditions"))
    if conditions is None and given.get("field") is not None:
        conditions = {name: given[name] for name in ("field", "op", "value") if name in given}
    if conditions is None and given.get("segment_id") is None:
        faults.add("trigger.if", "Should be conditions as a segment has them, or segment_id should name one.")
        return found
    if conditions is not None:
        segments.compile_(caller.account_id, conditions)
        found["conditions"] = conditions
    minutes = given.get("check_minutes", CHECK_MINUTES)
    if isinstance(minutes, bool) or not isinstance(minutes, int) or not 1 <= minutes <= CHECK_MOST:
        faults.add("trigger.check_minutes", f"Should be a whole number from 1 to {CHECK_MOST}.")
    existing = given.get("include_existing", False)
    if not isinstance(existing, bool):
        faults.add("trigger.include_existing", "Should be true or false.")
    return found | {"check_minutes": minutes, "include_existing": existing}


def next_ms(trigger: Trigger, after_ms: int) -> int | None:
    """When a worker has to look at it next for the sake of its time; None: never, or never again."""
    if trigger["type"] == CONDITION:
        return after_ms + int(trigger["check_minutes"]) * 60_000
    if trigger["type"] == TIME and "cron" in trigger:
        return schedules.parse(trigger["cron"]).after_ms(after_ms)
    return None


def last_ms(trigger: Trigger, due_ms: int, now: int) -> int:
    """The latest of its times that has passed, where it was due at `due_ms`: an outage may have lasted over several."""
    at = due_ms
    for _ in range(_PASSED_MOST):
        following = next_ms(trigger, at) if trigger["type"] == TIME else None
        if following is None or following > now:
            return at
        at = following
    return now


def since_ms(trigger: Trigger, due_ms: int | None, now: int) -> int:
    """From when on dates of subscribers count, for its first time at `due_ms`: those of that very day."""
    return due_ms - clock.DAY_MS if "field" in trigger and due_ms is not None else now


def fits(trigger: Trigger, signal: Mapping[str, Any]) -> bool:
    """Whether an event passes the filters; `signal` has `list_id`, `tags`, `url` and `origin` where it knows them."""
    if trigger.get("list_id") is not None and signal.get("list_id") != trigger["list_id"]:
        return False
    if trigger.get("tag") is not None and trigger["tag"] not in signal.get("tags", ()):
        return False
    if trigger.get("url") is not None and trigger["url"] not in str(signal.get("url", "")):
        return False
    return trigger.get("origin") is None or signal.get("origin") == trigger["origin"]


def shown(trigger: Trigger) -> dict[str, Any]:
    """In the words of a request."""
    body = {name: value for name, value in trigger.items() if name not in ("list_id", "origin", "at_ms", "conditions")}
    if "at_ms" in trigger:
        body["at"] = clock.rfc3339(trigger["at_ms"])
    if "conditions" in trigger:
        body["if"] = trigger["conditions"]
    if trigger.get("list_id") is not None:
        field, public_id = references.audiences({trigger["list_id"]}).get(trigger["list_id"], ("list_id", ""))
        body[field] = public_id or None
    return body
