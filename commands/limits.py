"""Limits on destinations, for operators: GetLimits, AddLimit, PinLimit and CancelLimit."""

from __future__ import annotations

from typing import Any

from commands.registry import Needs, command
from commands.schema import Flag, Id, Params, Text, Whole
from gateway import clock, errors
from gateway.services import shaping
from gateway.services.identity import Caller
from gateway.services.shaping import Limit

_SHOWN = {
    "LimitID": "12",
    "Scope": "mx",
    "Target": "yahoo",
    "Kind": "pause",
    "Value": 0,
    "Cause": "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints",
    "Rule": "yahoo.tss04",
    "Origin": "auto",
    "Active": True,
    "Pinned": False,
    "CreatedAt": "2026-01-31 12:30:00",
    "EndsAt": "2026-01-31 14:30:00",
    "CanceledAt": "",
}
_ID_DOC = "The number of the limit, as GetLimits shows it"
_ID_ERRORS = {1: "Missing required parameter: LimitID", 2: "Limit not found", 3: "The limit has ended"}
_ID_REFUSALS: dict[type[errors.GatewayError], int] = {errors.LimitNotFound: 2, errors.LimitEnded: 3}


class GetLimitsParams(Params):
    Ended = Flag(required=False, doc="1 shows those that have ended too, of the last month")
    RetrieveCount = Whole(
        required=False, low=1, high=shaping.LIST_MOST, clamp=True, doc="How many to show (default and max 500)"
    )


class AddLimitParams(Params):
    Scope = Text(
        missing=1,
        invalid=4,
        choices=shaping.SCOPES,
        doc="mx: a group of mail exchangers, or the host of the relay; domain: a recipient domain",
        example="mx",
    )
    Target = Text(missing=2, invalid=4, max=255, doc="Which one: google, yahoo, example.com …", example="yahoo")
    Kind = Text(
        missing=3,
        invalid=4,
        choices=shaping.KINDS,
        doc="pause, rate (messages a minute) or connections",
        example="rate",
    )
    Value = Whole(
        required=False,
        invalid=4,
        doc="Messages a minute or connections, shared out between the processes of a host; a pause takes none",
        example=60,
    )
    Minutes = Whole(required=False, invalid=4, doc="How long; without it until the limit is canceled", example=30)
    Cause = Text(required=False, max=500, doc="Why, for whoever asks", example="as agreed with their postmaster")


class PinLimitParams(Params):
    LimitID = Id(missing=1, doc=_ID_DOC)
    Pinned = Flag(required=False, doc="0 lets it end at its time again (default 1)")


class CancelLimitParams(Params):
    LimitID = Id(missing=1, doc=_ID_DOC)


@command(
    "EmailGateway.GetLimits",
    summary="List what limits the mail to destinations, and why",
    params=GetLimitsParams,
    answer={"Limits": [_SHOWN]},
    needs=Needs.OPERATOR,
)
def get_limits(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = shaping.list_(
        caller=caller, ended=params.get("Ended", False), count=params.get("RetrieveCount", shaping.LIST_MOST)
    )
    return {"Limits": [_row(limit) for limit in found]}


@command(
    "EmailGateway.AddLimit",
    summary="Pause a destination, or limit its messages a minute or its connections",
    params=AddLimitParams,
    errors={
        1: "Missing required parameter: Scope",
        2: "Missing required parameter: Target",
        3: "Missing required parameter: Kind",
        4: "Scope or Kind is unknown, Target is no name, or Value or Minutes is out of range (a pause takes no Value)",
    },
    refusals={errors.Invalid: 4},
    answer={"Limit": _SHOWN | {"Origin": "operator", "Rule": ""}},
    needs=Needs.OPERATOR,
)
def add_limit(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    made = shaping.add(
        caller=caller,
        scope=params["Scope"],
        target=params["Target"],
        kind=params["Kind"],
        value=params.get("Value", 0),
        minutes=params.get("Minutes"),
        cause=params.get("Cause", ""),
    )
    return {"Limit": _row(made)}


@command(
    "EmailGateway.PinLimit",
    summary="Keep a limit until it is canceled, beyond its end",
    params=PinLimitParams,
    errors=_ID_ERRORS,
    refusals=_ID_REFUSALS,
    answer={"Limit": _SHOWN | {"Pinned": True, "EndsAt": ""}},
    needs=Needs.OPERATOR,
)
def pin_limit(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    changed = shaping.pin(caller=caller, limit_id=params["LimitID"], pinned=params.get("Pinned", True))
    return {"Limit": _row(changed)}


@command(
    "EmailGateway.CancelLimit",
    summary="End a limit; what it held is tried at once",
    params=CancelLimitParams,
    errors=_ID_ERRORS,
    refusals=_ID_REFUSALS,
    answer={"ReleasedDeliveries": 120},
    needs=Needs.OPERATOR,
)
def cancel_limit(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"ReleasedDeliveries": shaping.cancel(caller=caller, limit_id=params["LimitID"])}


def _row(limit: Limit) -> dict[str, Any]:
    return {
        "LimitID": str(limit.id),
        "Scope": limit.scope,
        "Target": limit.target,
        "Kind": limit.kind,
        "Value": limit.value,
        "Cause": limit.cause,
        "Rule": limit.rule,
        "Origin": limit.origin,
        "Active": limit.is_active(clock.now_ms()),
        "Pinned": limit.pinned,
        "CreatedAt": clock.sql_text(limit.created_ms),
        "EndsAt": _time(limit.ends_ms),
        "CanceledAt": _time(limit.canceled_ms),
    }


def _time(ms: int | None) -> str:
    return "" if ms is None else clock.sql_text(ms)
