from __future__ import annotations

from typing import Any

import pytest

import models
from gateway import clock
from gateway.services import messages
from models.vocabulary import DeliveryState
from tests import cast
from tests.commands.conftest import Call

pytestmark = pytest.mark.usefixtures("store")
NAMES = ("ExplainMessage", "CancelMessage", "RescheduleMessage")


def test_a_message_is_explained(call: Call, who: cast.Sender) -> None:
    sent = messages.accept(who.caller, cast.draft(tags=["spring"])).message_id
    answer = call("ExplainMessage", MessageID=sent)
    assert (answer["Success"], answer["ErrorCode"]) == (True, 0)
    assert answer["Explanation"].startswith("Accepted for shop.test at ")
    wanted = {"MessageID": sent, "DomainID": str(who.domain.id), "Tags": ["spring"], "Test": False}
    assert answer["Message"] | wanted == answer["Message"]
    passed = {"Gate": "suppression", "Decision": "passed", "Rule": "", "Until": "", "Details": {"blocked": 0}}
    assert passed in answer["Verdicts"]
    assert (answer["TotalDeliveries"], answer["States"]) == (1, {"queued": 1})
    (delivery,) = answer["Deliveries"]
    assert [one["Gate"] for one in delivery["Verdicts"]] == ["final"]
    assert (delivery["Recipient"], delivery["State"], delivery["Attempts"]) == ("jane@friends.test", "queued", [])
    assert [event["Event"] for event in answer["Events"]] == ["accepted"]
    assert call("ExplainMessage", MessageID=sent) == answer
    assert call("ExplainMessage", MessageID=sent, RetrieveCount=0)["Deliveries"] == []


def test_a_message_is_canceled(call: Call, who: cast.Sender) -> None:
    sent = messages.accept(who.caller, cast.draft()).message_id
    done = {"Success": True, "ErrorCode": 0, "CanceledDeliveries": 1, "InFlightDeliveries": 0}
    assert call("CancelMessage", MessageID=sent) == done
    assert call("CancelMessage", MessageID=sent) == done | {"CanceledDeliveries": 0}
    assert models.Delivery.get().state == DeliveryState.CANCELED
    assert call("RescheduleMessage", MessageID=sent, SendAt=0)["RescheduledDeliveries"] == 0


@pytest.mark.parametrize("spelled", ["seconds", "digits", "text"])
def test_a_message_is_rescheduled(call: Call, who: cast.Sender, spelled: str) -> None:
    sent = messages.accept(who.caller, cast.draft()).message_id
    at_s = clock.now_ms() // 1000 + 7200
    at = {"seconds": at_s, "digits": str(at_s), "text": clock.sql_text(at_s * 1000)}[spelled]
    answer = call("RescheduleMessage", MessageID=sent, SendAt=at)
    assert answer["RescheduledDeliveries"] == 1
    assert answer["SendAt"] == clock.sql_text(at_s * 1000)
    assert models.Delivery.get().due_ms == at_s * 1000


@pytest.mark.parametrize("value", ["soon", True, [1], {"a": 1}, "2026-13-01 00:00:00", 10**11, "NaN", 1e300])
def test_a_time_that_is_none(call: Call, who: cast.Sender, value: Any) -> None:
    sent = messages.accept(who.caller, cast.draft()).message_id
    before = models.Delivery.get().due_ms
    assert call("RescheduleMessage", MessageID=sent, SendAt=value)["ErrorCode"] == 4
    assert call("RescheduleMessage", MessageID=sent)["ErrorCode"] == 3
    assert models.Delivery.get().due_ms == before


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_and_a_foreign_message(call: Call, name: str) -> None:
    stranger = cast.sender("stranger", "foreign.test")
    theirs = messages.accept(stranger.caller, cast.draft(domain="foreign.test")).message_id
    assert call(name, SendAt=0)["ErrorCode"] == 1
    values = (theirs, "0190163d-8694-739b-aea5-966c26f8ad91", "x", 7, ["x"], "y" * 300)
    answers = [call(name, MessageID=value, SendAt=0) for value in values]
    assert [answer["ErrorCode"] for answer in answers] == [2] * len(values)
    assert all(answer == answers[0] for answer in answers)
    assert models.Delivery.get().state == DeliveryState.QUEUED
