"""Events in the one form that webhooks and analytics of `/v1` tell them in, whichever provider they came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from gateway import clock, ids
from gateway.services import server_kinds, verdicts
from gateway.services.event_rows import EventRow
from gateway.services.notices import Notice
from models import database as db
from models.vocabulary import EventKind, NoticeKind

TYPES: dict[EventKind, str] = {
    EventKind.ACCEPTED: "message.accepted",
    EventKind.DELIVERED: "message.delivered",
    EventKind.OPENED: "message.opened",
    EventKind.CLICKED: "message.clicked",
    EventKind.BOUNCED: "message.bounced",
    EventKind.FAILED: "message.bounced",
    EventKind.COMPLAINED: "message.complained",
    EventKind.UNSUBSCRIBED: "subscriber.unsubscribed",
}
"""Retries that are used up are a bounce that is not for good; what else happens to a message is not told here."""

NOTICES = {
    NoticeKind.AUTOMATION_TRIGGERED: "automation.triggered",
    NoticeKind.SUBSCRIBER_UNSUBSCRIBED: "subscriber.unsubscribed",  # over the API, without a message
}
WORDS: dict[str, frozenset[EventKind]] = {
    word: frozenset(kind for kind, name in TYPES.items() if name == word) for word in dict.fromkeys(TYPES.values())
}
"""The event types with the kinds that each stands for."""

_UNDECIDED = frozenset({"for_each", "by_recipient", "installation", "waits"})
"""What the route gate decided without saying a way out."""
_PROVIDERS = {"direct": "mx", "smarthost": "smtp", "smtps": "smtp"}
_OF_NOTICE = {
    "automation": {
        "id": "automation", "name": "automation_name", "run_id": "run", "trigger": "trigger", "event": "event",
    },
    "subscriber": {"id": "subscriber_id", "email": "email", "list_id": "list_id"},
}  # fmt: skip
"""What of a notice's facts is told, under which names."""

_NOTICE_BIT = 1 << 64
_FACTS = ("url", "user_agent", "verdict", "reasons")


def shown(row: EventRow, *, workspace: str, provider: str) -> dict[str, Any]:
    """The event without its signature; what the printed form has no place for stands in `data`."""
    message: dict[str, Any] = {
        "id": ids.public_id("msg", row.message_uuid),
        "provider": provider or None,
        "from": str((row.headers.get("from") or ["", ""])[1]),
        "to": row.recipient,
        "tags": row.tags,
    }
    if row.data.get("metadata"):
        message["metadata"] = row.data["metadata"]
    told: dict[str, Any] = {
        "id": event_id(row),
        "type": TYPES.get(row.kind, f"message.{row.kind.word}"),
        "created_at": clock.rfc3339(row.at_ms),
        "workspace": workspace,
        "message": message,
    }
    data = _data(row)
    if row.kind is EventKind.UNSUBSCRIBED:
        told["subscriber"] = {"email": row.recipient}
    if data:
        told["data"] = data
    if not row.live:
        told["test"] = True
    return told


def shown_notice(notice: Notice, *, workspace: str) -> dict[str, Any]:
    """A notice in the same form: `automation` and `subscriber` instead of a message."""
    data = notice.data
    told: dict[str, Any] = {
        "id": ids.public_id("evt", UUID(int=notice.at_ms << 80 | _NOTICE_BIT | notice.id)),
        "type": notice.kind,
        "created_at": clock.rfc3339(notice.at_ms),
        "workspace": workspace,
    }
    for part, names in _OF_NOTICE.items():
        found = {name: data[key] for name, key in names.items() if data.get(key)}
        if found:
            told[part] = found
    if data.get("test"):
        told["test"] = True
    return told


def event_id(row: EventRow) -> str:
    """Made of its time and its number, so that it sorts by time."""
    return ids.public_id("evt", UUID(int=row.at_ms << 80 | row.id))


def _data(row: EventRow) -> dict[str, Any]:
    facts = row.data
    if row.kind in (EventKind.BOUNCED, EventKind.FAILED):
        found = {
            "bounce_type": "permanent" if row.kind is EventKind.BOUNCED else "transient",
            "code": facts.get("code"),
            "enhanced_code": facts.get("enhanced") or None,
            "category": facts.get("category") or None,
            "reason": row.reason,
        }
    elif row.kind in (EventKind.OPENED, EventKind.CLICKED):
        found = {"ip": row.ip or None} | {name: facts[name] for name in _FACTS if facts.get(name)}
    elif row.kind in TYPES:
        found = {}
    else:
        found = {"reason": row.reason or None}
    return {name: value for name, value in found.items() if value is not None}


def providers(rows: Iterable[EventRow]) -> Mapping[int, str]:
    """By event: over which provider its message went, or is to go: of the last attempt, else as it was routed.

    '' where each of many recipients has a way of its own, which nobody knows yet.
    """
    told = {row.id: provider_word(str(row.data["transport"])) for row in rows if row.data.get("transport")}
    left = [row for row in rows if row.id not in told]
    transports = _tried({row.delivery_id for row in left if row.delivery_id is not None})
    left_over = [row for row in left if row.delivery_id not in transports]
    routed = _routed({row.message_id for row in left_over})
    for row in left:
        word = transports.get(row.delivery_id or 0)
        told[row.id] = provider_word(word) if word else routed.get(row.message_id, "")
    return told


def _tried(delivery_ids: set[int]) -> dict[int, str]:
    if not delivery_ids:
        return {}
    marks = ", ".join("?" * len(delivery_ids))
    rows = db.rows(
        f"SELECT delivery_id, id, transport FROM attempt WHERE delivery_id IN ({marks})", sorted(delivery_ids)
    )
    return {delivery_id: transport for delivery_id, _, transport in sorted(rows)}


def _routed(message_ids: set[int]) -> dict[int, str]:
    if not message_ids:
        return {}
    marks = ", ".join("?" * len(message_ids))
    found: dict[int, str] = {}
    for id_, text in db.rows(f"SELECT id, verdicts FROM message WHERE id IN ({marks})", sorted(message_ids)):
        route: dict[str, Any] = next((one for one in verdicts.unpack(text) if one.get("gate") == verdicts.ROUTE), {})
        ways: list[dict[str, Any]] = route.get("ways") or [route]
        decision = str(ways[0].get("decision") or "")
        word = next((str(way["provider"]) for way in ways if way.get("provider")), "")
        found[id_] = word or ("" if decision in _UNDECIDED else provider_word(decision))
    return found


def provider_word(transport: str) -> str:
    """The provider behind the word that attempts have for a way out."""
    kind = transport.partition(":")[0]  # of `ses:12` and of `smtp://host:port` alike
    return server_kinds.provider_word(_PROVIDERS.get(kind, kind))


def type_of(native: str) -> str:
    """The type of what the native payload calls `message.failed`, `notice.automation.triggered` …"""
    head, _, word = native.partition(".")
    if head == "notice":
        return word
    kind = next((kind for kind in EventKind if kind.word == word), None)
    return native if head != "message" or kind is None else TYPES.get(kind, native)
