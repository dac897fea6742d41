"""Retention: GetRetention and SetRetention, the days that an account's messages are kept."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Flag, Params, Whole
from gateway import errors
from gateway.services import retention
from gateway.services.identity import Caller
from gateway.services.retention import MOST_DAYS, Retention

_SHOWN = {"Body": 30, "Metadata": 365}


class SetRetentionParams(Params):
    Body = Whole(
        required=False,
        invalid=1,
        low=0,
        high=MOST_DAYS,
        doc="Days that bodies and captured mail are kept; 0: until all recipients are through",
        example=7,
    )
    Metadata = Whole(
        required=False,
        invalid=2,
        low=1,
        high=MOST_DAYS,
        doc="Days that the rest of a message, its deliveries, attempts and events are kept",
        example=90,
    )
    Reset = Flag(required=False, doc="1: what is not given holds as in the settings of the installation again")


@command(
    "EmailGateway.GetRetention",
    summary="For how many days the account's messages are kept",
    answer={"Retention": _SHOWN},
)
def get_retention(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"Retention": shown(retention.find(caller=caller))}


@command(
    "EmailGateway.SetRetention",
    summary="Change for how many days the account's messages are kept",
    params=SetRetentionParams,
    errors={1: "Body is not a number of days", 2: "Metadata is not a number of days"},
    refusals={errors.Invalid: 1},
    answer={"Retention": _SHOWN},
)
def set_retention(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    changed = Retention(params.get("Body"), params.get("Metadata"))
    return {"Retention": shown(retention.change(caller=caller, changed=changed, reset=bool(params.get("Reset"))))}


def shown(found: Retention) -> dict[str, int | None]:
    return {"Body": found.body, "Metadata": found.metadata}
