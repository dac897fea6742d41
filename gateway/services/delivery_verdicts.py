"""The verdicts of one delivery, put together from its attempts, its events and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gateway.services import verdicts
from gateway.services.verdicts import Verdict
from models.vocabulary import DeliveryState, EventKind

if TYPE_CHECKING:
    from gateway.services.explanations import AttemptRow, Fate

_ASKED = ("detail", "in_doubt", "gave_up", "code", "enhanced", "category")
"""What an event says beside its reason that belongs to the end of a delivery."""


def of(one: Fate) -> list[Verdict]:
    """Suppression, then every attempt with what its transport decided, shaping, and where the delivery stands."""
    found: list[Verdict] = []
    if one.state is DeliveryState.SUPPRESSED:
        found.append(_suppressed(one))
    for attempt in one.attempts:
        found += [
            Verdict(own.gate, own.decision, own.rule, own.until_ms, {"attempt": attempt.no, **own.details})
            for own in attempt.verdicts
        ]
        found.append(_attempt(attempt))
    found += _shaping(one)
    found.append(_final(one))
    return found


def _suppressed(one: Fate) -> Verdict:
    told = [event for event in one.events if event.kind is EventKind.SUPPRESSED]
    data: dict[str, Any] = told[-1].data if told else {}
    details = {"address": one.recipient} | ({"detail": data["detail"]} if data.get("detail") else {})
    return Verdict(verdicts.SUPPRESSION, verdicts.REFUSED, str(data.get("reason", "")), None, details)


def _attempt(attempt: AttemptRow) -> Verdict:
    details = {
        "attempt": attempt.no,
        "transport": attempt.transport,
        "remote": attempt.remote,
        "tls": attempt.tls,
        "code": attempt.code,
        "enhanced": attempt.enhanced,
        "reply": attempt.reply,
        "started_ms": attempt.started_ms,
        "ms": attempt.ms,
    }
    return Verdict(
        verdicts.ATTEMPT,
        attempt.outcome,
        attempt.category,
        None,
        {name: value for name, value in details.items() if value not in (None, "")},
    )


def _shaping(one: Fate) -> Iterator[Verdict]:
    if one.waiting:
        found = verdicts.read(one.waiting)
        decision = "waits" if found.decision == verdicts.PASSED else found.decision
        yield Verdict(found.gate or verdicts.SHAPING, decision, found.rule, found.until_ms, found.details)
    if one.due_ms is not None and one.paused_until_ms > one.due_ms:
        yield Verdict(verdicts.SHAPING, "waits", "lane_paused", one.paused_until_ms, {"cause": one.pause_cause})


def _final(one: Fate) -> Verdict:
    """The state; `rule` is the event that led there, `until_ms` when that is looked at again."""
    event = one.telling
    if one.state is DeliveryState.HANDED_OVER and event is not None and not event.is_report:
        event = None  # of an attempt before the provider took it
    details: dict[str, Any] = {"attempts": one.attempt_count}
    if one.due_ms is not None:
        details["expires_ms"] = one.expires_ms
    if one.reason:
        details["reason"] = one.reason
    ended = one.state in (DeliveryState.DELIVERED, DeliveryState.BOUNCED) and one.events
    if event is not None and one.state is not DeliveryState.DELIVERED:
        details |= {name: event.data[name] for name in _ASKED if event.data.get(name)}
    rule = event.kind.word if event is not None and one.state is not DeliveryState.DELIVERED else ""
    if ended and not rule:
        rule = EventKind.DELIVERED.word
    return Verdict(verdicts.FINAL, one.state.name.lower(), rule, one.due_ms, details)
