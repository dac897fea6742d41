"""EraseAddress and GetErasures through the command table."""

from __future__ import annotations

from gateway.services import erasures
from tests import cast
from tests.commands.conftest import Call
from tests.gateway.services.test_events import message


def test_an_erasure_and_how_far_it_is(who: cast.Sender, call: Call) -> None:
    message(who)
    assert call("GetErasures")["Erasures"] == []
    begun = call("EraseAddress", EmailAddress="jane@friends.test")["Erasure"]
    assert (begun["State"], begun["Percent"], begun["EndedAt"]) == ("running", 0, "")
    while erasures.collect()[1]:
        pass
    (done,) = call("GetErasures")["Erasures"]
    assert (done["State"], done["Percent"], done["Deliveries"]) == ("done", 100, 1)
    assert done["Pseudonym"] == begun["Pseudonym"]
    assert call("EraseAddress")["ErrorCode"] == 1
    assert call("EraseAddress", EmailAddress="nobody")["ErrorCode"] == 2
