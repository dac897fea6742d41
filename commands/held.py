"""Deliveries held for a person: GetHeldMessages, ReleaseMessage and FailMessage."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Params, Text, Whole
from gateway import clock, errors
from gateway.services import held
from gateway.services.identity import Caller

_ERRORS = {1: "Missing required parameter: MessageID", 2: "Message not found"}


class GetHeldMessagesParams(Params):
    StartFrom = Whole(required=False, doc="The first of the deliveries to show (default is 0)")
    RetrieveCount = Whole(
        required=False, high=held.LIST_MOST, clamp=True, doc="How many deliveries to show (default 100, max 1000)"
    )


class HeldMessageParams(Params):
    MessageID = Text(missing=1, invalid=2, max=255, doc="The MessageID that the send answered")
    Recipient = Text(required=False, max=320, doc="Only the delivery to this address")


@command(
    "EmailGateway.GetHeldMessages",
    summary="List deliveries that wait for a person, because a crash left it in doubt whether they arrived",
    params=GetHeldMessagesParams,
    answer={
        "TotalHeld": 1,
        "Held": [
            {
                "MessageID": "example-uuid",
                "Domain": "example.com",
                "Recipient": "jane@example.org",
                "Subject": "Your order",
                "AttemptCount": 1,
                "FailsAt": "2026-01-31 12:30:00",
            }
        ],
    },
)
def get_held_messages(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    total, found = held.list_(caller=caller, start=params.get("StartFrom", 0), count=params.get("RetrieveCount", 100))
    rows = [
        {
            "MessageID": row.message_id,
            "Domain": row.domain,
            "Recipient": row.recipient,
            "Subject": row.subject,
            "AttemptCount": row.attempts,
            "FailsAt": clock.sql_text(row.until_ms),
        }
        for row in found
    ]
    return {"TotalHeld": total, "Held": rows}


@command(
    "EmailGateway.ReleaseMessage",
    summary="Send again what is held of a message, at the risk of a second copy with the same Message-ID",
    params=HeldMessageParams,
    errors=_ERRORS,
    refusals={errors.NotFound: 2},
    answer={"ReleasedDeliveries": 1},
)
def release_message(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    count = held.release(caller=caller, message_id=params["MessageID"], recipient=params.get("Recipient", "").strip())
    return {"ReleasedDeliveries": count}


@command(
    "EmailGateway.FailMessage",
    summary="Give up what is held of a message: it failed, although it may have arrived",
    params=HeldMessageParams,
    errors=_ERRORS,
    refusals={errors.NotFound: 2},
    answer={"FailedDeliveries": 1},
)
def fail_message(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    count = held.fail(caller=caller, message_id=params["MessageID"], recipient=params.get("Recipient", "").strip())
    return {"FailedDeliveries": count}
