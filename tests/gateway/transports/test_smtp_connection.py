"""When a connection is kept, replaced and reopened."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from gateway.dns import resolver as dns_resolver
from gateway.transports.outcome import Result
from gateway.transports.smarthost import Smarthost
from tests.gateway.transports.conftest import PATIENT, Sender, wait_until_dead
from tests.peers.smtp_sink import CLOSE, RESET, Act, SmtpSink


def test_one_connection_carries_many_messages(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sender = through(sink)
    outcomes = [sender.send(f"user{n}@example.net") for n in range(20)]
    assert {o.result for o in outcomes} == {Result.DELIVERED}
    assert [t.rcpts for t in sink.messages] == [[f"user{n}@example.net"] for n in range(20)]
    assert sink.connections == 1
    # The opening is told with the first message only.
    assert "EHLO" in outcomes[0].dialogue
    assert outcomes[1].dialogue.startswith("C: MAIL FROM:<jane@example.com>")


def test_a_used_up_connection_is_replaced_with_a_goodbye(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sender = through(sink, max_messages=3)
    for _ in range(7):
        assert sender.send().result is Result.DELIVERED
    assert [t.connection for t in sink.messages] == [1, 1, 1, 2, 2, 2, 3]
    assert [line for _, line in sink.commands].count("QUIT") == 2


def test_an_idle_connection_is_replaced(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sender = through(sink, max_idle=0.05)
    sender.send()
    time.sleep(0.1)
    assert sender.send().result is Result.DELIVERED
    assert sink.connections == 2


def test_a_connection_that_died_while_idle_is_reopened(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sender = through(sink)
    sender.send()
    sink.drop()
    wait_until_dead(sink)
    assert sender.send().result is Result.DELIVERED
    assert sink.connections == 2
    assert sender.announced == 2


@pytest.mark.parametrize("death", [CLOSE, RESET], ids=["close", "reset"])
def test_a_connection_that_dies_under_the_first_command_is_reopened_once(
    sink: SmtpSink, through: Callable[..., Sender], death: Act
) -> None:
    sender = through(sink)
    sender.send()
    sink.script("mail", death)
    assert sender.send().result is Result.DELIVERED
    assert sink.connections == 2
    sink.script("mail", death, death)
    assert sender.send().result is Result.DEFERRED
    assert sink.connections == 3
    assert len(sink.messages) == 2


@pytest.mark.parametrize("death", [CLOSE, RESET], ids=["close", "reset"])
def test_a_connection_that_dies_after_the_message_is_not_repeated(
    sink: SmtpSink, through: Callable[..., Sender], death: Act
) -> None:
    sender = through(sink)
    sender.send()
    sink.script("end", death)
    outcome = sender.send()
    assert outcome.result is Result.IN_DOUBT
    assert len(sink.wait_for_transactions(2)) == 2
    assert sink.connections == 1


def test_a_server_that_says_421_while_idle_is_dialled_again(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sender = through(sink)
    sink.script("end", Act(b"250 2.0.0 taken\r\n421 4.4.2 idle for too long\r\n", "close"))
    assert sender.send().result is Result.DELIVERED
    wait_until_dead(sink)
    assert sender.send().result is Result.DELIVERED
    assert sink.connections == 2


def test_421_to_a_command_drops_the_connection(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sender = through(sink)
    sender.send()
    sink.script("rcpt", "421 4.7.0 too many messages, try again in 10 minutes")
    outcome = sender.send()
    assert (outcome.result, outcome.code, outcome.retry_after) == (Result.DEFERRED, 421, 600)
    assert sender.send().result is Result.DELIVERED
    assert sink.connections == 2


def test_421_to_the_first_command_of_a_used_connection_leads_to_a_new_one(
    sink: SmtpSink, through: Callable[..., Sender]
) -> None:
    """So do servers say that a connection has carried enough."""
    sender = through(sink)
    sender.send()
    sink.script("mail", "421 4.7.0 too many messages on this connection")
    assert sender.send().result is Result.DELIVERED
    assert sink.connections == 2
    sink.script("mail", "421 4.7.0 too many", "421 4.7.0 too many")
    outcome = sender.send()
    assert (outcome.result, outcome.code) == (Result.DEFERRED, 421)
    assert sink.connections == 3


def test_a_server_that_is_down_defers_until_it_is_back(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sender = through(sink)
    assert sender.send().result is Result.DELIVERED
    sink.stop()
    outcome = sender.send()
    assert (outcome.result, outcome.code, outcome.category) == (Result.DEFERRED, None, "network")
    assert "connection refused" in outcome.reply
    sink.start()
    assert sender.send().result is Result.DELIVERED


def test_a_closed_connection_may_be_used_again(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sender = through(sink)
    sender.send()
    sender.close()
    sender.close()
    assert [line for _, line in sink.commands][-1] == "QUIT"
    assert sender.send().result is Result.DELIVERED
    assert sink.connections == 2


class Addresses:
    """A resolver that knows one host."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = list(addresses)

    def addresses(self, host: str) -> list[str]:
        return self._addresses


def _smarthost(monkeypatch: pytest.MonkeyPatch, port: int, *addresses: str) -> Sender:
    monkeypatch.setattr(dns_resolver, "_used", Addresses(*addresses))
    relay = Smarthost(f"smtp://relay.example.net:{port}", hostname="mx.gateway.test", timeouts=PATIENT)
    return Sender(relay.open())


def test_every_address_is_tried(sinks: Callable[..., SmtpSink], monkeypatch: pytest.MonkeyPatch) -> None:
    sink = sinks(host="127.0.0.3")
    busy = sinks(host="127.0.0.2", port=sink.port)
    busy.always("banner", "554 5.3.2 not today")
    sender = _smarthost(monkeypatch, sink.port, "127.0.0.1", "127.0.0.2", "127.0.0.3")
    outcome = sender.send()
    assert outcome.result is Result.DELIVERED
    assert outcome.remote == f"relay.example.net[127.0.0.3]:{sink.port}"
    assert "relay.example.net[127.0.0.1]" in outcome.dialogue
    assert "not today" in outcome.dialogue
    sender.close()


def test_where_none_takes_it_the_server_that_spoke_is_told(
    sinks: Callable[..., SmtpSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = sinks(host="127.0.0.2")
    busy.always("banner", "554 5.3.2 not today")
    sender = _smarthost(monkeypatch, busy.port, "127.0.0.1", "127.0.0.2", "127.0.0.3")
    outcome = sender.send()
    assert (outcome.result, outcome.code, outcome.reply) == (Result.DEFERRED, 554, "5.3.2 not today")
    assert "127.0.0.2" in outcome.remote
