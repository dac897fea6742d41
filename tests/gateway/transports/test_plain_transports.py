"""Capture, null and the registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.transports import registry
from gateway.transports.capture import Capture
from gateway.transports.mx import Direct
from gateway.transports.null import Null
from gateway.transports.outcome import Result
from gateway.transports.smarthost import Smarthost
from tests.conftest import use_settings
from tests.gateway.transports.conftest import MESSAGE, Sender


class Kept:
    def __init__(self) -> None:
        self.messages: list[tuple[str, str, bytes]] = []

    def __call__(self, *, mail_from: str, rcpt: str, message: bytes) -> None:
        self.messages.append((mail_from, rcpt, message))


def test_capture_keeps_what_it_is_given() -> None:
    kept = Kept()
    sender = Sender(Capture(kept).open())
    outcome = sender.send()
    assert (outcome.result, outcome.code, outcome.remote) == (Result.DELIVERED, 250, "capture")
    assert kept.messages == [("jane@example.com", "john@example.net", MESSAGE)]
    assert sender.announced == 1
    sender.close()


def test_capture_refuses_what_no_server_may_be_sent() -> None:
    kept = Kept()
    assert Sender(Capture(kept).open()).send(message=b"a\nb").result is Result.BOUNCED
    assert kept.messages == []


def test_a_capture_that_fails_defers() -> None:
    def full(*, mail_from: str, rcpt: str, message: bytes) -> None:
        raise OSError("no space left")

    outcome = Sender(Capture(full).open()).send()
    assert (outcome.result, outcome.category, outcome.enhanced) == (Result.DEFERRED, "ours", "4.3.0")
    assert "no space left" in outcome.reply


def test_null_announces_and_forgets() -> None:
    sender = Sender(Null().open())
    assert sender.send().result is Result.DELIVERED
    assert sender.announced == 1


@pytest.mark.parametrize(
    ("spec", "class_", "name"),
    [
        ("capture", Capture, "capture"),
        ("direct", Direct, "direct"),
        ("null", Null, "null"),
        ("smtp://jane:secret@relay.example.net:587", Smarthost, "smtp://relay.example.net:587"),
        ("smtps://relay.example.net", Smarthost, "smtps://relay.example.net:465"),
        ("smtp://[::1]", Smarthost, "smtp://[::1]:25"),
    ],
)
def test_registry(tmp_path: Path, spec: str, class_: type, name: str) -> None:
    settings = use_settings(tmp_path, MX_PORT="2626", DELIVERY_ALLOW="10.0.0.0/8", DELIVERY=spec)
    transport = registry.build(settings.delivery, settings, Kept())
    assert isinstance(transport, class_)
    assert transport.name == name
    if isinstance(transport, Direct):
        assert (transport.port, transport.allow) == (2626, settings.delivery_allow)
        assert transport.options.hostname == "mx.gateway.test"


@pytest.mark.parametrize("spec", ["", "ses", "http://example.net", "smtp://", "smtp://host:x", "smtp://host/path"])
def test_registry_refuses_the_rest(tmp_path: Path, spec: str) -> None:
    with pytest.raises(ValueError, match=r"should be|[Pp]ort"):
        registry.build(spec, use_settings(tmp_path), Kept())


def test_smarthosts_of_tenants_reach_no_private_address(tmp_path: Path, sink: object) -> None:
    settings = use_settings(tmp_path, DELIVERY_ALLOW="10.0.0.0/8")
    url: str = sink.url  # type: ignore[attr-defined]
    outcome = Sender(registry.build(url, settings, Kept(), trusted=False).open()).send()
    assert (outcome.result, outcome.category) == (Result.DEFERRED, "ours")
    assert "COMMANDPOST_DELIVERY_ALLOW" in outcome.reply
    assert sink.connections == 0  # type: ignore[attr-defined]
    allowed = use_settings(tmp_path, DELIVERY_ALLOW="127.0.0.0/8")
    sender = Sender(registry.build(url, allowed, Kept(), trusted=False).open())
    assert sender.send().result is Result.DELIVERED
    sender.close()
