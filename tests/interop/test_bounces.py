"""Real servers take our mail, are refused by the next hop and bounce it to our inbound listener."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

import models
from gateway.services import deliveries, messages
from models.vocabulary import EventKind
from tests import cast
from tests.peers.bouncing_mta import Exim, Postfix, free_port, why_no_exim, why_no_postfix
from tests.peers.smtp_sink import SmtpSink
from tests.smtp.conftest import Running, customer, start  # noqa: F401 - fixtures

SERVERS = [
    pytest.param(kind, marks=pytest.mark.skipif(bool(why), reason=why or "it is there"), id=kind.__name__)
    for kind, why in ((Postfix, why_no_postfix()), (Exim, why_no_exim()))
]

FATES = [
    ("nobody@friends.test", "550 5.1.1 <nobody@friends.test>: User unknown", EventKind.BOUNCED, True),
    ("full@friends.test", "552 5.2.2 Mailbox is over its quota", EventKind.BOUNCED, False),
    ("policy@friends.test", "554 5.7.1 Relay access denied", EventKind.BOUNCED, False),
    ("later@friends.test", "451 4.3.0 Temporary lookup failure", EventKind.FAILED, False),
]


@pytest.mark.parametrize("server", SERVERS)
def test_what_a_server_took_and_bounced_later_is_an_event(
    start: Callable[..., Running],  # noqa: F811
    tmp_path: Path,
    server: type[Postfix] | type[Exim],
) -> None:
    inbound = free_port()
    with SmtpSink() as hop:
        for address, reply, *_ in FATES:
            hop.refuse(address, reply)
        with server(tmp_path / "mta", {"friends.test": hop.port, "*": inbound}, lifetime="8s") as mta:
            start(MX=f"127.0.0.1:{inbound}", DELIVERY=f"smtp://127.0.0.1:{mta.port}")
            sender = cast.sender()
            for address, *_ in FATES:
                messages.accept(sender.caller, cast.draft(to=address))
            assert deliveries.drain(1.0) == len(FATES)
            deliveries.close()
            found = wait_for_reports(len(FATES), mta)
    assert {event.rcpt: event.kind for event in found} == {address: kind for address, _, kind, _ in FATES}
    reasons = {event.rcpt: orjson.loads(event.data)["reason"] for event in found}
    for address, reply, *_ in FATES:
        assert " ".join(reply.split()[2:4]) in reasons[address]
    assert {row.address for row in models.Suppression.select()} == {address for address, _, _, dead in FATES if dead}


def wait_for_reports(n: int, mta: Postfix | Exim) -> list[models.Event]:
    """The events that reports made, once there are `n`; AssertionError after a minute."""
    end = time.monotonic() + 60
    wanted = (EventKind.BOUNCED, EventKind.FAILED)
    while True:
        found = list(models.Event.select().where(models.Event.kind.in_(wanted)))
        if len(found) >= n:
            return found
        assert time.monotonic() < end, f"{[event.rcpt for event in found]}\n{mta.log()}"
        time.sleep(0.2)
