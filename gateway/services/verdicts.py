"""Verdicts: what a gate decided about a message or a delivery, on which input, by which rule and until when.

They are stored as one JSON list with the message and one with each attempt, so a stored verdict has `gate`,
where it says more than that the gate was passed `decision`, `rule` and `until_ms`, and beside them its input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import clock, errors

AUTH, IDEMPOTENCY, VALIDATION, SENDER_DOMAIN = "auth", "idempotency", "validation", "sender_domain"
SUPPRESSION, QUOTA, SCHEDULE, STREAM, ROUTE, RISK = "suppression", "quota", "schedule", "stream", "route", "risk"
SIGNING, SHAPING, ATTEMPT, FINAL = "signing", "shaping", "attempt", "final"

ACCEPTING = (AUTH, IDEMPOTENCY, VALIDATION, SENDER_DOMAIN, SUPPRESSION, QUOTA, SCHEDULE, STREAM, ROUTE, RISK)
"""The gates of accepting a message, in the order in which they are told."""

PASSED, REFUSED = "passed", "refused"

Stored = dict[str, Any]
Trail = dict[str, Stored]
"""The verdicts found so far, by gate."""

_LIMITS = ("limit", "used", "period", "addresses", "field")
_DECIDED_BY: tuple[tuple[type[errors.GatewayError], str], ...] = (
    (errors.NotAuthenticated, AUTH),
    (errors.AccountDisabled, AUTH),
    (errors.AccountUnverified, AUTH),
    (errors.IdempotencyMismatch, IDEMPOTENCY),
    (errors.IdempotencyRunning, IDEMPOTENCY),
    (errors.DomainGone, SENDER_DOMAIN),
    (errors.DomainNotActive, SENDER_DOMAIN),
    (errors.NotAllowed, SENDER_DOMAIN),
    (errors.SuppressedRecipient, SUPPRESSION),
    (errors.QuotaReached, QUOTA),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A stored verdict taken apart; `details` are what the gate looked at."""

    gate: str
    decision: str
    rule: str
    until_ms: int | None
    details: dict[str, Any]


def read(stored: Mapping[str, Any]) -> Verdict:
    """The verdict behind its stored form; words of later versions are kept as details."""
    rest = dict(stored)
    gate, decision = rest.pop("gate", ""), rest.pop("decision", PASSED)
    rule, until = rest.pop("rule", ""), rest.pop("until_ms", None)
    return Verdict(str(gate), str(decision), str(rule), until if isinstance(until, int) else None, rest)


def read_all(stored: Iterable[Mapping[str, Any]]) -> list[Verdict]:
    return [read(one) for one in stored]


def ordered(trail: Trail) -> list[Stored]:
    """What was found, gate after gate."""
    return [trail[gate] for gate in ACCEPTING if gate in trail]


def refused(error: errors.GatewayError) -> Stored:
    """The verdict of the gate that raised the refusal; what it limits comes with it."""
    gate = next((gate for kind, gate in _DECIDED_BY if isinstance(error, kind)), VALIDATION)
    stored: Stored = {"gate": gate, "decision": REFUSED, "rule": error.slug, "text": error.message}
    if "retry_after" in error.data:
        stored["until_ms"] = clock.now_ms() + 1000 * int(str(error.data["retry_after"]))
    return stored | {name: error.data[name] for name in _LIMITS if name in error.data}
