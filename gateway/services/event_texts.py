"""What the fields of the query language read in a message and in an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

Message = tuple[dict[str, list[str]], dict[str, Any]]
"""The texts that are the same for all its events, and its headers."""

MESSAGE_COLUMNS = "subject, from_addr, tags, headers"
EVENT_COLUMNS = "e.rcpt, e.ip, r.text, x.name, e.data"
EVENT_JOINS = "LEFT JOIN reply r ON r.id = e.reply_id LEFT JOIN mx x ON x.id = e.mx_id"


def of_message(subject: str, from_addr: str, tags_json: str, headers_json: str) -> Message:
    """From `MESSAGE_COLUMNS`."""
    headers = orjson.loads(headers_json) if headers_json else {}
    box = headers.get("from") or ["", ""]
    return {
        "subject": [subject],
        "from": [from_addr, str(box[0])],
        "tag": [str(tag) for tag in orjson.loads(tags_json or "[]")],
    }, headers


def recipients(headers: dict[str, Any]) -> list[str]:
    """The addresses that the message itself shows."""
    return [str(box[1]) for box in (*headers.get("to", ()), *headers.get("cc", ()))]


def of_event(event: Sequence[Any], headers: dict[str, Any]) -> dict[str, list[str]]:
    """From `EVENT_COLUMNS`; of an event about the whole message `to` are all its recipients."""
    rcpt, ip, reply, mx, data_json = event
    data = orjson.loads(data_json) if data_json else {}
    response = [reply or "", str(data.get("reason") or "")]
    response.append(" ".join(str(data[key]) for key in ("code", "enhanced") if data.get(key)))
    return {
        "to": [rcpt] if rcpt else recipients(headers),
        "ip": [ip] if ip else [],
        "mx": [mx] if mx else [],
        "response": response,
    }
