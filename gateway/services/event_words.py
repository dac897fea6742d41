"""How the Octeth surface spells events: short words, long words, and the older words of its filters."""

from __future__ import annotations

from gateway.errors import InvalidEvent
from models.vocabulary import EventKind

SHORT = {
    EventKind.DELIVERED: "delivery",
    EventKind.BOUNCED: "bounce",
    EventKind.FAILED: "bounce",
    EventKind.OPENED: "open",
    EventKind.CLICKED: "click",
    EventKind.UNSUBSCRIBED: "unsubscribe",
    EventKind.COMPLAINED: "complaint",
}
"""The document's words; retries used up read as a (transient) bounce, the other events keep our word."""

_BOUNCES = frozenset({EventKind.BOUNCED, EventKind.FAILED})

WEBHOOK: dict[str, frozenset[EventKind]] = {
    "delivery": frozenset({EventKind.DELIVERED}),
    "bounce": _BOUNCES,
    "open": frozenset({EventKind.OPENED}),
    "click": frozenset({EventKind.CLICKED}),
    "unsubscribe": frozenset({EventKind.UNSUBSCRIBED}),
    "complaint": frozenset({EventKind.COMPLAINED}),
}
"""What a webhook may ask for."""

WEBHOOK |= {
    "delivered": WEBHOOK["delivery"],
    "bounced": WEBHOOK["bounce"],
    "opened": WEBHOOK["open"],
    "clicked": WEBHOOK["click"],
    "unsubscribed": WEBHOOK["unsubscribe"],
    "complained": WEBHOOK["complaint"],
}

FILTER: dict[str, frozenset[EventKind]] = WEBHOOK | {
    "accepted": frozenset({EventKind.ACCEPTED}),
    "send": frozenset({EventKind.ACCEPTED}),
    "sent": frozenset({EventKind.ACCEPTED}),
    "failed": _BOUNCES,
    "rejected": frozenset({EventKind.SUPPRESSED}),
    "suppressed": frozenset({EventKind.SUPPRESSED}),
    "queued": frozenset({EventKind.QUEUED}),
    "deferred": frozenset({EventKind.DEFERRED}),
    "canceled": frozenset({EventKind.CANCELED}),
    "replied": frozenset({EventKind.REPLIED}),
}
"""What events may be filtered by."""


def short(kind: EventKind) -> str:
    """The word of `event_type`: delivery, bounce, open …"""
    return SHORT.get(kind, kind.word)


def long(kind: EventKind) -> str:
    """The word of `Event`: delivered, bounced, opened …"""
    return EventKind.BOUNCED.word if kind is EventKind.FAILED else kind.word


def for_webhook(word: str) -> frozenset[EventKind]:
    """The kinds that a webhook's event word stands for; raises `InvalidEvent`."""
    found = WEBHOOK.get(word.strip().lower())
    if found is None:
        raise InvalidEvent()
    return found


def for_filter(words: str) -> frozenset[EventKind]:
    """The kinds that a filter's words (separated by commas) stand for; raises `InvalidEvent`."""
    kinds: set[EventKind] = set()
    for word in words.lower().split(","):
        word = word.strip()
        if word.startswith(("accepted-by-", "accepted_by_")):
            word = "accepted"
        if word not in FILTER:
            raise InvalidEvent("Invalid event type specified", field="Event")
        kinds |= FILTER[word]
    return frozenset(kinds)
