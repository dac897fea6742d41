"""GetLimits, AddLimit, PinLimit and CancelLimit through their door."""

from __future__ import annotations

from typing import Any

import pytest

from commands.dispatch import dispatch
from gateway.services import keys, shaping
from models import database as db
from tests import cast


def _ask(key: str, name: str, **params: Any) -> dict[str, Any]:
    fields = {"command": f"EmailGateway.{name}", "adminapikey": key}
    answer = dispatch(
        fields | {param.lower(): value for param, value in params.items()}, ip="127.0.0.1", request_id="test"
    )
    assert answer.status == 200
    return answer.body


def _key(role: str) -> str:
    who = cast.account(role, role=role)
    return db.in_transaction(lambda tx: keys.create_key(tx, account_id=who.account_id))[1]


@pytest.fixture
def operator(store: str) -> str:
    return _key("operator")


def test_the_life_of_a_limit(operator: str) -> None:
    made = _ask(operator, "AddLimit", Scope="mx", Target="Google", Kind="rate", Value="60", Minutes=30, Cause="agreed")
    assert made["Success"] is True
    row = made["Limit"]
    assert (row["Target"], row["Kind"], row["Value"], row["Cause"]) == ("google", "rate", 60, "agreed")
    assert (row["Origin"], row["Active"], row["Pinned"]) == ("operator", True, False)
    assert row["EndsAt"]
    assert _ask(operator, "GetLimits")["Limits"] == [row]
    pinned = _ask(operator, "PinLimit", LimitID=row["LimitID"])["Limit"]
    assert (pinned["Pinned"], pinned["EndsAt"]) == (True, "")
    assert _ask(operator, "PinLimit", LimitID=row["LimitID"], Pinned=0)["Limit"] == row
    canceled = _ask(operator, "CancelLimit", LimitID=row["LimitID"])
    assert (canceled["Success"], canceled["ReleasedDeliveries"]) == (True, 0)
    assert _ask(operator, "GetLimits")["Limits"] == []
    (ended,) = _ask(operator, "GetLimits", Ended=1)["Limits"]
    assert ended["Active"] is False and ended["CanceledAt"]


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("AddLimit", {"Target": "google", "Kind": "pause"}, 1),
        ("AddLimit", {"Scope": "mx", "Kind": "pause"}, 2),
        ("AddLimit", {"Scope": "mx", "Target": "google"}, 3),
        ("AddLimit", {"Scope": "planet", "Target": "google", "Kind": "pause"}, 4),
        ("AddLimit", {"Scope": "mx", "Target": "jane@far.test", "Kind": "pause"}, 4),
        ("AddLimit", {"Scope": "mx", "Target": "google", "Kind": "rate"}, 4),
        ("AddLimit", {"Scope": "mx", "Target": "google", "Kind": "pause", "Minutes": 0}, 4),
        ("AddLimit", {"Scope": "mx", "Target": "google", "Kind": "pause", "Value": 30}, 4),
        ("PinLimit", {}, 1),
        ("PinLimit", {"LimitID": 987_654}, 2),
        ("CancelLimit", {}, 1),
        ("CancelLimit", {"LimitID": "nonsense"}, 2),
    ],
)
def test_refusals(operator: str, name: str, params: dict[str, Any], code: int) -> None:
    answer = _ask(operator, name, **params)
    assert (answer["Success"], answer["ErrorCode"]) == (False, code)


def test_what_has_ended_cannot_be_changed(operator: str) -> None:
    made = shaping.add(caller=None, scope="mx", target="google", kind="pause")
    _ask(operator, "CancelLimit", LimitID=made.id)
    for name in ("CancelLimit", "PinLimit"):
        assert _ask(operator, name, LimitID=made.id)["ErrorCode"] == 3


def test_only_operators_may(store: str) -> None:
    made = shaping.add(caller=None, scope="mx", target="google", kind="pause")
    user = _key("user")
    fields = {"apikey": user, "limitid": made.id, "scope": "mx", "target": "yahoo", "kind": "pause"}
    for name in ("GetLimits", "AddLimit", "PinLimit", "CancelLimit"):
        answer = dispatch({"command": f"EmailGateway.{name}", **fields}, ip="127.0.0.1", request_id="test")
        assert (answer.body["Success"], answer.body["ErrorCode"]) == (False, 99999)
    assert shaping.active() == (made,)
