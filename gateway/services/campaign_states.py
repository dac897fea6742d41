"""What may be done with a campaign in which state, and what it becomes."""

from __future__ import annotations

from gateway import errors
from models.vocabulary import (
    CAMPAIGN_CANCELED,
    CAMPAIGN_DRAFT,
    CAMPAIGN_FAILED,
    CAMPAIGN_PAUSED,
    CAMPAIGN_SCHEDULED,
    CAMPAIGN_SENDING,
    CAMPAIGN_SENT,
)

CHANGE, SCHEDULE, UNSCHEDULE, LAUNCH, PAUSE, RESUME = "change", "schedule", "unschedule", "launch", "pause", "resume"
CANCEL, FINISH, FAIL, DELETE = "cancel", "finish", "fail", "delete"

TRANSITIONS = {
    (CAMPAIGN_DRAFT, CHANGE): CAMPAIGN_DRAFT,
    (CAMPAIGN_SCHEDULED, CHANGE): CAMPAIGN_SCHEDULED,
    (CAMPAIGN_DRAFT, SCHEDULE): CAMPAIGN_SCHEDULED,
    (CAMPAIGN_SCHEDULED, SCHEDULE): CAMPAIGN_SCHEDULED,
    (CAMPAIGN_SCHEDULED, UNSCHEDULE): CAMPAIGN_DRAFT,
    (CAMPAIGN_DRAFT, LAUNCH): CAMPAIGN_SENDING,
    (CAMPAIGN_SCHEDULED, LAUNCH): CAMPAIGN_SENDING,
    (CAMPAIGN_SCHEDULED, FAIL): CAMPAIGN_FAILED,
    (CAMPAIGN_SENDING, PAUSE): CAMPAIGN_PAUSED,
    (CAMPAIGN_PAUSED, RESUME): CAMPAIGN_SENDING,
    (CAMPAIGN_SENDING, FINISH): CAMPAIGN_SENT,
    (CAMPAIGN_DRAFT, CANCEL): CAMPAIGN_CANCELED,
    (CAMPAIGN_SCHEDULED, CANCEL): CAMPAIGN_CANCELED,
    (CAMPAIGN_SENDING, CANCEL): CAMPAIGN_CANCELED,
    (CAMPAIGN_PAUSED, CANCEL): CAMPAIGN_CANCELED,
    (CAMPAIGN_DRAFT, DELETE): CAMPAIGN_DRAFT,
    (CAMPAIGN_SCHEDULED, DELETE): CAMPAIGN_SCHEDULED,
    (CAMPAIGN_SENT, DELETE): CAMPAIGN_SENT,
    (CAMPAIGN_CANCELED, DELETE): CAMPAIGN_CANCELED,
    (CAMPAIGN_FAILED, DELETE): CAMPAIGN_FAILED,
}
"""Whatever is not here is refused."""

_DONE = {
    CHANGE: "changed",
    SCHEDULE: "scheduled",
    UNSCHEDULE: "taken off its schedule",
    LAUNCH: "launched",
    PAUSE: "paused",
    RESUME: "resumed",
    CANCEL: "canceled",
    FINISH: "finished",
    FAIL: "failed",
    DELETE: "deleted",
}


def after(state: str, action: str) -> str:
    """The state that the action leads to; raises `CampaignState`."""
    found = TRANSITIONS.get((state, action))
    if found is None:
        raise errors.CampaignState(f"A campaign that is {state} cannot be {_DONE[action]}.", state=state)
    return found
