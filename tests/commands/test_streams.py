"""The stream that a request asks for decides the queue and the time limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import models
from commands.sending import fields
from commands.sending.faults import Faults
from gateway.services import apis
from models.vocabulary import Stream
from tests import cast
from tests.commands.conftest import Call
from tests.conftest import use_settings

_SEND = {
    "From": {"email": "hello@shop.test", "name": "The Shop"},
    "To": [{"email": "jane@friends.test", "name": "Jane"}],
    "Subject": "News",
    "ContentType": "plain",
    "PlainContent": "News!",
}


@pytest.mark.parametrize(
    ("words", "stream", "hours", "rule"),
    [
        ({}, Stream.TRANSACTIONAL, 3, "default"),
        ({"Stream": "transactional"}, Stream.TRANSACTIONAL, 3, "request"),
        ({"stream": " Bulk "}, Stream.BULK, 7, "request"),
        ({"Stream": "broadcast"}, Stream.BULK, 7, "request"),
        ({"Stream": ""}, Stream.TRANSACTIONAL, 3, "default"),
    ],
)
def test_a_send_goes_in_the_stream_it_asks_for(
    who: cast.Sender,
    call: Call,
    tmp_path: Path,
    store: str,
    words: dict[str, str],
    stream: Stream,
    hours: int,
    rule: str,
) -> None:
    use_settings(tmp_path, DATABASE_URL=store, TRANSACTIONAL_HOURS="3", BULK_HOURS="7")
    key = apis.add(caller=who.owner, domain_id=who.domain.id, description="x").key
    answer = call("SendEmail", SenderAPIKey=key, **_SEND, **words)
    (delivery,) = models.Delivery.select()
    message = models.Message.get_by_id(delivery.message_id)
    assert message.stream == models.Lane.get_by_id(delivery.lane_id).stream == stream
    assert delivery.expires_ms - message.created_ms == pytest.approx(hours * 3_600_000, abs=2000)
    told = call("ExplainMessage", MessageID=answer["MessageID"])["Verdicts"]
    (gate,) = [one for one in told if one["Gate"] == "stream"]
    assert (gate["Decision"], gate["Rule"]) == (stream.name.lower(), rule)


@pytest.mark.parametrize("value", ["fast", 1, ["bulk"], {"a": 1}, True])
def test_other_words_are_refused(value: Any) -> None:
    faults = Faults()
    assert fields._stream(value, faults) is None
    assert faults
