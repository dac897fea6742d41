"""GetEventFeed: the event log for programs that come back for what is new."""

from __future__ import annotations

from typing import Any

from commands import events as shown
from commands.registry import command
from commands.schema import Day, Id, Params, Text, Whole
from gateway import errors
from gateway.services import event_feed
from gateway.services.event_feed import Piece
from gateway.services.identity import Caller


class GetEventFeedParams(Params):
    After = Text(required=False, max=64, doc="The After of the answer before; without it the feed begins")
    DomainID = Id(required=False, doc="Only the events of this domain; without it those of the whole account")
    Event = Text(required=False, max=255, doc="Only events of these types, separated by commas", example="open,click")
    StartDate = Day(required=False, doc="Where a feed without After begins (format: YYYY-MM-DD)")
    RetrieveCount = Whole(
        required=False, low=1, high=event_feed.MOST, clamp=True, doc="The number of events to retrieve (max 1000)"
    )


@command(
    "EmailGateway.GetEventFeed",
    summary="Read the event log in its order, from where the last answer ended: every event once",
    params=GetEventFeedParams,
    errors={2: "Failed to retrieve sender domain"},
    refusals={errors.NotFound: 2},
    answer={
        "Events": [{"EventId": "evt_1", "EventType": "open", "Sequence": 3}],
        "After": "MQAAAAAAAAAB",
        "HasMore": False,
    },
)
def get_event_feed(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return piece(
        event_feed.read(
            caller=caller,
            after=params.get("After", ""),
            domain_id=params.get("DomainID"),
            event=params.get("Event", ""),
            count=params.get("RetrieveCount", event_feed.MOST),
            since_ms=params.get("StartDate"),
        )
    )


def piece(found: Piece) -> dict[str, Any]:
    """`Sequence` is the place of an event among those of its message; with `HasMore` false ask again later."""
    return {
        "Events": [shown.row(event) | {"Sequence": place} for event, place in found.rows],
        "After": found.cursor,
        "HasMore": found.more,
    }
