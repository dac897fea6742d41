"""Erasing a recipient: EraseAddress and GetErasures."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Params, Text
from gateway import clock, errors
from gateway.services import erasures
from gateway.services.erasures import Erasure
from gateway.services.identity import Caller

_SHOWN = {
    "Pseudonym": "erased-6f1d0c5b2a9e8d7c6b5a4f3e@erased.invalid",
    "State": "running",
    "Percent": 40,
    "Deliveries": 12,
    "StartedAt": "2026-01-31 12:30:00",
    "EndedAt": "",
}


class EraseAddressParams(Params):
    EmailAddress = Text(missing=1, max=320, doc="The address of the recipient", example="jane@example.net")


@command(
    "EmailGateway.EraseAddress",
    summary="Replace a recipient's address by a pseudonym wherever the account has it, and remove mail to it alone",
    params=EraseAddressParams,
    errors={1: "Missing required parameter: EmailAddress", 2: "Invalid email address"},
    refusals={errors.InvalidAddress: 2},
    answer={"Erasure": _SHOWN},
)
def erase_address(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"Erasure": shown(erasures.begin(caller=caller, address=params["EmailAddress"]))}


@command(
    "EmailGateway.GetErasures",
    summary="The account's erasures and how far they have come, the newest first",
    answer={"Erasures": [_SHOWN]},
)
def get_erasures(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"Erasures": [shown(one) for one in erasures.list_(caller=caller)]}


def shown(erasure: Erasure) -> dict[str, Any]:
    """Whom it is about is not said any more; asked for the same address, the pseudonym is the same."""
    return {
        "Pseudonym": erasure.pseudonym,
        "State": "running" if erasure.ended_ms is None else "done",
        "Percent": erasure.percent,
        "Deliveries": erasure.deliveries,
        "StartedAt": clock.sql_text(erasure.created_ms),
        "EndedAt": "" if erasure.ended_ms is None else clock.sql_text(erasure.ended_ms),
    }
