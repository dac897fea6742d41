from __future__ import annotations

import pytest

import models
from gateway import clock
from gateway.services import messages
from models.vocabulary import DeliveryState
from tests import cast
from tests.commands.conftest import Call

pytestmark = pytest.mark.usefixtures("store")


def _hold(who: cast.Sender) -> str:
    sent = messages.accept(who.caller, cast.draft(domain=who.domain.name)).message_id
    models.Delivery.update(state=DeliveryState.HELD, attempts=1, due_ms=clock.now_ms() + 3_600_000).execute()
    return sent


def test_what_is_held_is_shown(call: Call, who: cast.Sender) -> None:
    assert call("GetHeldMessages") == {"Success": True, "ErrorCode": 0, "TotalHeld": 0, "Held": []}
    sent = _hold(who)
    answer = call("GetHeldMessages", RetrieveCount="5")
    assert answer["TotalHeld"] == 1
    (row,) = answer["Held"]
    until = clock.sql_text(models.Delivery.get().due_ms)
    assert row == {
        "MessageID": sent, "Domain": "shop.test", "Recipient": "jane@friends.test", "Subject": "Your order",
        "AttemptCount": 1, "FailsAt": until,
    }  # fmt: skip
    assert call("GetHeldMessages", StartFrom=1)["Held"] == []


@pytest.mark.parametrize(
    ("name", "word", "state"),
    [
        ("ReleaseMessage", "ReleasedDeliveries", DeliveryState.DEFERRED),
        ("FailMessage", "FailedDeliveries", DeliveryState.FAILED),
    ],
)
def test_it_is_decided_once(call: Call, who: cast.Sender, name: str, word: str, state: DeliveryState) -> None:
    sent = _hold(who)
    assert call(name, MessageID=sent, Recipient="bob@friends.test")[word] == 0
    assert call(name, MessageID=sent) == {"Success": True, "ErrorCode": 0, word: 1}
    assert models.Delivery.get().state == state
    assert call(name, MessageID=sent)[word] == 0


@pytest.mark.parametrize("name", ["ReleaseMessage", "FailMessage"])
def test_an_absent_and_a_foreign_message(call: Call, name: str) -> None:
    theirs = _hold(cast.sender("stranger", "foreign.test"))
    assert call(name)["ErrorCode"] == 1
    answers = [call(name, MessageID=value) for value in (theirs, "0190163d-8694-739b-aea5-966c26f8ad91", "x", 7)]
    assert [answer["ErrorCode"] for answer in answers] == [2] * 4
    assert models.Delivery.get().state == DeliveryState.HELD
