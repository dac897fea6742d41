"""The one form of events: providers and types as webhooks and analytics of `/v1` call them."""

from __future__ import annotations

import pytest

from gateway.services import message_events


@pytest.mark.parametrize(
    ("transport", "provider"),
    [
        ("ses:12", "amazon-ses"),
        ("mailgun:3", "mailgun"),
        ("sendgrid", "sendgrid"),
        ("smtp:7", "smtp"),
        ("smtp://relay.example.com:587", "smtp"),
        ("smtps://[2001:db8::1]:465", "smtp"),
        ("smarthost", "smtp"),
        ("direct", "mx"),
        ("capture", "capture"),
        ("", ""),
    ],
)
def test_a_way_out_is_told_by_its_provider(transport: str, provider: str) -> None:
    assert message_events.provider_word(transport) == provider


@pytest.mark.parametrize(
    ("native", "type_"),
    [
        ("message.failed", "message.bounced"),
        ("message.unsubscribed", "subscriber.unsubscribed"),
        ("message.deferred", "message.deferred"),
        ("notice.automation.triggered", "automation.triggered"),
        ("test", "test"),
        ("", ""),
    ],
)
def test_types_of_what_the_log_calls_otherwise(native: str, type_: str) -> None:
    assert message_events.type_of(native) == type_
