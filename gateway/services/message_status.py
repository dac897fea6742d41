"""What became of a message in one word, from the states of its deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway import clock
from models import database as db
from models.vocabulary import TERMINAL, DeliveryState

QUEUED, SCHEDULED, SENDING = "queued", "scheduled", "sending"
PARTLY = "partially_delivered"

WORDS = {
    QUEUED: "waits for its turn",
    SCHEDULED: "waits for its time",
    SENDING: "some of its deliveries have begun or ended, others have not",
    "deferred": "was refused for now and is tried again",
    "held": "waits for a person",
    "handed_over": "a provider took it and has not reported yet",
    "delivered": "the next hop took it for every recipient",
    PARTLY: "has ended, and arrived for some recipients only",
    "bounced": "was refused for good",
    "failed": "its retries or its time are used up, or its deliveries ended in different ways without arriving",
    "suppressed": "was never sent: nobody of it may be written to",
    "canceled": "was taken back before it left",
}
"""The words with what each means."""

Counts = Mapping[tuple[DeliveryState, bool], int]
"""Deliveries by state, and whether their time is still to come."""


def word(counts: Counts, *, scheduled: bool = False) -> str:
    """The word for these deliveries; `scheduled`: the time of the message is still to come.

    What is held back for another reason, a quota say, waits for its turn whatever time that takes.
    """
    states = {state for (state, _), n in counts.items() if n}
    if not states:
        return SCHEDULED if scheduled else QUEUED
    if any(state < TERMINAL for state in states):
        if len(states) > 1 or DeliveryState.CLAIMED in states:
            return SENDING
        (state,) = states
        if state is DeliveryState.QUEUED:
            return SCHEDULED if scheduled and all(later for (_, later), n in counts.items() if n) else QUEUED
        return state.name.lower()
    sent = states - {DeliveryState.SUPPRESSED} or states
    if len(sent) == 1:
        (state,) = sent
        return PARTLY if state is DeliveryState.DELIVERED and sent != states else state.name.lower()
    if DeliveryState.DELIVERED in sent:
        return PARTLY
    return "handed_over" if DeliveryState.HANDED_OVER in sent else "failed"


def of(message_ids: Sequence[int]) -> dict[int, dict[tuple[DeliveryState, bool], int]]:
    """The deliveries of each message, counted; with one query for hundreds of them."""
    found: dict[int, dict[tuple[DeliveryState, bool], int]] = {message_id: {} for message_id in message_ids}
    now = clock.now_ms()
    for start in range(0, len(message_ids), 500):
        some = message_ids[start : start + 500]
        for message_id, state, later, n in db.rows(
            "SELECT message_id, state, CASE WHEN attempts = 0 AND due_ms > ? THEN 1 ELSE 0 END AS later, COUNT(*)"
            f" FROM delivery WHERE message_id IN ({','.join('?' * len(some))}) GROUP BY message_id, state, later",
            (now, *some),
        ):
            found[message_id][DeliveryState(state), bool(later)] = int(n)
    return found
