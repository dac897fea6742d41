"""An explanation as REST surfaces answer it: the command's data under snake_case names, and the sentence as `text`."""

from __future__ import annotations

from typing import Any

from gateway import clock
from gateway.services import explanation_words
from gateway.services.event_rows import EventRow
from gateway.services.explanations import AttemptRow, Explanation, Fate
from gateway.services.verdicts import Verdict

EXAMPLE: dict[str, Any] = {
    "text": (
        "Accepted for example.com at 2026-01-31 12:30:00 UTC; the delivery to jane@example.org arrived"
        " at attempt 1 at mx.example.org[192.0.2.1]:25 at 2026-01-31 12:30:01 UTC (250 2.0.0 Ok)."
    ),
    "message": {"message_id": "0199a1b2-0000-7000-8000-000000000000", "domain": "example.com", "size": 1200},
    "verdicts": [{"gate": "quota", "decision": "passed", "rule": "Default", "until": None, "details": {}}],
    "total_deliveries": 1,
    "states": {"delivered": 1},
    "deliveries": [{"recipient": "jane@example.org", "state": "delivered", "text": "", "verdicts": [], "attempts": []}],
    "events": [{"event": "accepted", "recipient": "jane@example.org", "at": "2026-01-31T12:30:00Z", "reason": ""}],
    "partial": False,
}


def shown(found: Explanation) -> dict[str, Any]:
    """Times are RFC 3339 in UTC, null where there is none."""
    message = found.message
    return {
        "text": found.text,
        "message": {
            "message_id": str(message.uuid),
            "domain_id": message.domain_id,
            "domain": message.domain,
            "from": message.from_addr,
            "subject": message.subject,
            "tags": message.tags,
            "stream": message.stream.name.lower(),
            "size": message.size,
            "test": not message.live,
            "accepted_at": clock.rfc3339(message.created_ms),
            "send_at": _time(message.send_at_ms),
        },
        "verdicts": [verdict(one) for one in found.gates],
        "total_deliveries": found.total,
        "states": {state.name.lower(): count for state, count in found.states.items()},
        "deliveries": [_delivery(one) for one in found.fates],
        "events": [_event(event) for event in found.events],
        "partial": found.partial,
    }


def _delivery(one: Fate) -> dict[str, Any]:
    return {
        "recipient": one.recipient,
        "state": one.state.name.lower(),
        "text": f"The delivery to {one.recipient} {explanation_words.fate(one)}.",
        "reason": one.reason,
        "attempt_count": one.attempt_count,
        "next_attempt_at": _time(one.due_ms),
        "expires_at": clock.rfc3339(one.expires_ms),
        "verdicts": [verdict(gate) for gate in one.gates],
        "attempts": [_attempt(attempt) for attempt in one.attempts],
        "events": [_event(event) for event in one.events],
    }


def verdict(one: Verdict) -> dict[str, Any]:
    """A gate's verdict; `until` is null where it holds for good."""
    return {
        "gate": one.gate,
        "decision": one.decision,
        "rule": one.rule,
        "until": _time(one.until_ms),
        "details": one.details,
    }


def _attempt(attempt: AttemptRow) -> dict[str, Any]:
    return {
        "number": attempt.no,
        "outcome": attempt.outcome,
        "category": attempt.category,
        "transport": attempt.transport,
        "remote": attempt.remote,
        "tls": attempt.tls,
        "code": attempt.code,
        "enhanced_code": attempt.enhanced,
        "reply": attempt.reply,
        "started_at": clock.rfc3339(attempt.started_ms),
        "milliseconds": attempt.ms,
    }


def _event(event: EventRow) -> dict[str, Any]:
    return {
        "event": event.kind.word,
        "recipient": event.recipient,
        "at": clock.rfc3339(event.at_ms),
        "reason": event.reason,
    }


def _time(ms: int | None) -> str | None:
    return None if ms is None else clock.rfc3339(ms)
