"""An explanation as one plain sentence, made of what is stored and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gateway import clock
from gateway.services.message_rows import MessageRow
from models.vocabulary import DeliveryState, EventKind

if TYPE_CHECKING:
    from gateway.services.explanations import AttemptRow, Fate

TELLING = frozenset(
    {
        EventKind.QUEUED,
        EventKind.DEFERRED,
        EventKind.BOUNCED,
        EventKind.FAILED,
        EventKind.SUPPRESSED,
        EventKind.CANCELED,
    }
)
"""Events whose reason says why a delivery stands where it stands."""

_REASON_LENGTH = 300
_COUNTED = {
    DeliveryState.QUEUED: "{} waiting for the first attempt",
    DeliveryState.CLAIMED: "{} being tried now",
    DeliveryState.DEFERRED: "{} waiting for another attempt",
    DeliveryState.HELD: "{} held for a person",
    DeliveryState.DELIVERED: "{} delivered",
    DeliveryState.BOUNCED: "{} refused for good",
    DeliveryState.FAILED: "{} given up",
    DeliveryState.SUPPRESSED: "{} not sent because the address is suppressed",
    DeliveryState.CANCELED: "{} canceled before it was sent",
    DeliveryState.HANDED_OVER: "{} handed over to a provider that has not said yet what became of it",
}

_REPORTED = {
    EventKind.DEFERRED: "was reported as put off",
    EventKind.BOUNCED: "was reported as undeliverable",
    EventKind.FAILED: "was reported as given up",
    EventKind.COMPLAINED: "its recipient complained about it",
}


def sentence(message: MessageRow, states: Mapping[DeliveryState, int], fates: Sequence[Fate], to_come: int = 0) -> str:
    """When the message was accepted and what became of it: of one recipient all, of several how many each.

    `to_come` deliveries of its list are not made yet.
    """
    begin = f"Accepted for {message.domain} at {_time(message.created_ms)}"
    if not message.live:
        begin += " with a test key, whose mail is captured and not sent"
    total = sum(states.values())
    if to_come:
        begin += f", whose list has {to_come} deliveries to come"
    if total == 1 and not to_come and len(fates) == 1:
        return f"{begin}; the delivery to {fates[0].recipient} {fate(fates[0])}."
    if not total:
        return f"{begin}; {'none is made yet' if to_come else 'it has no such recipient'}."
    parts = [_COUNTED[state].format(states[state]) for state in sorted(states)]
    return f"{begin}; of {total} deliveries: {', '.join(parts)}."


def fate(one: Fate) -> str:
    """What became of one delivery, as the end of a sentence whose subject it is."""
    reason = _quoted(_said(one))
    match one.state:
        case DeliveryState.QUEUED:
            if _scheduled(one):
                return f"waits for the time it was scheduled for, {_time(one.due_ms)}{_standing_still(one)}"
            if one.waiting:
                return f"waits for its first attempt{_standing_still(one)}"
            return f"waits for its first attempt, due at {_time(one.due_ms)}{_because(reason)}{_standing_still(one)}"
        case DeliveryState.CLAIMED:
            lease = _time(one.due_ms)
            return f"is being tried now, attempt {one.attempt_count + 1}, by a worker whose lease ends at {lease}"
        case DeliveryState.DEFERRED:
            text = f"was put off after attempt {one.attempt_count}{_by(one)}{_because(reason)}"
            if one.telling is not None and (other := one.telling.data.get("failover")):
                return f"{text}, and goes on over {other} now{_standing_still(one)}"
            if _doubtful(one):
                text = f"may have arrived: nobody knows what became of attempt {one.attempt_count}{_by(one)}"
                text += _because(reason)
            again = "once nothing holds it back" if one.waiting else f"at {_time(one.due_ms)}"
            return f"{text}, and is tried again {again} and until {_time(one.expires_ms)}{_standing_still(one)}"
        case DeliveryState.HELD:
            doubt = ", as it may have arrived" if _doubtful(one) else ""
            end = f", and fails at {_time(one.due_ms)} unless it is rescheduled"
            return f"is held for a person{doubt}{_because(reason)}{end}"
        case DeliveryState.DELIVERED if _handed_over(one):
            return f"{_handing_over(one)}, and delivered from there{_when(one, EventKind.DELIVERED)}{_afterwards(one)}"
        case DeliveryState.HANDED_OVER:
            return f"{_handing_over(one)}, which has not said yet what became of it{_afterwards(one)}"
        case DeliveryState.BOUNCED | DeliveryState.FAILED if _handed_over(one):
            return f"{_handing_over(one)}{_afterwards(one)}"
        case DeliveryState.DELIVERED:
            return _delivered(one)
        case DeliveryState.BOUNCED:
            what = f"was refused for good{_by(one)}" if _by(one) else "was found undeliverable"
            return f"{what}{_when(one, EventKind.BOUNCED)}{_because(reason)}"
        case DeliveryState.FAILED:
            when = _when(one, EventKind.FAILED)
            return f"was given up after {_attempts(one)}{when}{_too_late(one)}{_because(reason)}"
        case DeliveryState.SUPPRESSED:
            return f"was not sent{_when(one, EventKind.SUPPRESSED)}, as the address is suppressed{_because(reason)}"
        case _:
            return f"was canceled{_when(one, EventKind.CANCELED)}{_because(reason)}"


def _delivered(one: Fate) -> str:
    """What became of it in the words of the next hop; what was captured or dropped went nowhere."""
    last = one.attempts[-1] if one.attempts else None
    when = _when(one, EventKind.DELIVERED)
    if last is not None and last.transport.partition(":")[0] == "capture":
        return f"was captured at attempt {one.attempt_count}{when} and not sent"
    if last is not None and last.transport == "null":
        return f"was thrown away at attempt {one.attempt_count}{when}, as the null transport does, and not sent"
    said = _because(_quoted(_reply(last))) if last is not None else ""
    return f"arrived at attempt {one.attempt_count}{_by(one)}{when}{said}{_afterwards(one)}"


def _handed_over(one: Fate) -> bool:
    """Whether a provider took it and was to report what becomes of it."""
    return bool(one.attempts) and one.attempts[-1].outcome == "handed_over"


def _handing_over(one: Fate) -> str:
    last = one.attempts[-1]
    when = _time(last.started_ms + last.ms)
    said = _because(_quoted(last.reply))
    return f"was handed over to {last.remote}{_over(last)} at attempt {one.attempt_count} at {when}{said}"


def _afterwards(one: Fate) -> str:
    """What reports said of a delivery that its next hop had taken; a hop behind it refused it, or its reader did."""
    text = ""
    for event in one.events:
        words = _REPORTED.get(event.kind)
        if words is not None and (event.is_report or event.kind in (EventKind.BOUNCED, EventKind.COMPLAINED)):
            reason = "" if event.kind is EventKind.COMPLAINED else _because(_quoted(event.reason))
            text += f", and {words} at {_time(event.at_ms)}{reason}"
    return text


def _scheduled(one: Fate) -> bool:
    told = one.telling
    if told is None or told.data.get("until_ms") != one.due_ms:
        return False
    return told.data.get("reason") in ("scheduled", "rescheduled")


def _doubtful(one: Fate) -> bool:
    return bool(one.attempts) and one.attempts[-1].outcome == "in_doubt"


def _time(ms: int | None) -> str:
    return f"{clock.sql_text(ms)} UTC" if ms is not None else "no known time"


def _quoted(reason: str) -> str:
    text = " ".join(reason.split())
    return text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…"


def _said(one: Fate) -> str:
    """The reason; where it is what a server answered, with the number of that answer."""
    last = one.attempts[-1] if one.attempts else None
    return _reply(last) if last is not None and last.reply == one.reason else one.reason


def _reply(attempt: AttemptRow) -> str:
    """The words of a server as it spoke them: they are kept without their number. Others have none."""
    number = str(attempt.code or "")
    if not attempt.remote or not number or attempt.reply.startswith(number):
        return attempt.reply
    return f"{number} {attempt.reply}".rstrip()


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _by(one: Fate) -> str:
    last = one.attempts[-1] if one.attempts else None
    if last is None:
        return ""
    text = ""
    if last.remote:
        text = f" by {last.remote}" if one.state is not DeliveryState.DELIVERED else f" at {last.remote}"
    return text + _over(last)


def _over(attempt: AttemptRow) -> str:
    """The sending server of the account, where it went over one."""
    for verdict in attempt.verdicts:
        if verdict.gate == "route" and verdict.details.get("server"):
            rule = f" by the rule {verdict.rule}" if verdict.rule not in ("", "no_rule", "request") else ""
            return f" over {verdict.details['server']}{rule}"
    return ""


def _when(one: Fate, kind: EventKind) -> str:
    times = [event.at_ms for event in one.events if event.kind is kind]
    return f" at {_time(times[-1])}" if times else ""


def _attempts(one: Fate) -> str:
    return f"{one.attempt_count} attempt{'' if one.attempt_count == 1 else 's'}"


def _too_late(one: Fate) -> str:
    if one.telling is None or not one.telling.data.get("gave_up"):
        return ""
    return f", as the next one would have come after the end of its time, {_time(one.expires_ms)}"


def _standing_still(one: Fate) -> str:
    """What keeps a delivery that is or will be due: a limit it was put back for, a pause of its queue."""
    text = ""
    if one.waiting:
        until = one.waiting.get("until_ms")
        look = f"until {_time(until)}" if isinstance(until, int) else f"and looked at again at {_time(one.due_ms)}"
        text += f", held back {look}"
        text += _because(_quoted(_cause(one)))
    if one.due_ms is not None and one.paused_until_ms > one.due_ms:
        text += f", but its queue is paused until {_time(one.paused_until_ms)}{_because(_quoted(one.pause_cause))}"
    return text


def _cause(one: Fate) -> str:
    """The words of the limit, and its number, by which an operator finds it."""
    limit = one.waiting.get("limit")
    parts = [str(one.waiting.get("cause") or "")] + ([f"limit {limit}"] if limit not in (None, "") else [])
    return ", ".join(part for part in parts if part)
