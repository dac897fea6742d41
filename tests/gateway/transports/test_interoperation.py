"""The client against a server that is not our own: aiosmtpd."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from gateway.transports.outcome import Result
from gateway.transports.smarthost import Smarthost
from tests.gateway.transports.conftest import PATIENT, Sender
from tests.peers.certificate import Certificate


class Handler:
    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.tls: list[bool] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 User unknown"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.taken.append(envelope)
        self.tls.append(session.ssl is not None)
        return "250 2.0.0 taken"


@pytest.fixture
def other(certificate: Certificate) -> Iterator[tuple[Handler, int]]:
    handler, loop = Handler(), asyncio.new_event_loop()
    context = certificate.server_context()

    def protocol() -> Any:
        return SMTP(handler, enable_SMTPUTF8=True, tls_context=context, loop=loop, data_size_limit=1_000_000)

    server = loop.run_until_complete(loop.create_server(protocol, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield handler, server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize("tls", ["opportunistic", "off"])
def test_messages_arrive_whole(settings: object, other: tuple[Handler, int], tls: Any) -> None:
    handler, port = other
    sender = Sender(Smarthost(f"smtp://127.0.0.1:{port}", hostname="mx.gateway.test", tls=tls, timeouts=PATIENT).open())
    message = "Subject: Grüße\r\n\r\n.\r\n..\r\n.x\r\nGrüße\r\n".encode()
    assert sender.send(message=message).result is Result.DELIVERED
    refused = sender.send("nobody@example.net")
    assert (refused.result, refused.enhanced, refused.category) == (Result.BOUNCED, "5.1.1", "recipient")
    assert sender.send("jürgen@example.net", message).result is Result.DELIVERED
    assert sender.send(message=b"x\r\n" * 400_000).enhanced == "5.3.4"
    assert [e.content for e in handler.taken] == [message, message]
    assert [e.rcpt_tos for e in handler.taken] == [["john@example.net"], ["jürgen@example.net"]]
    assert handler.tls == [tls == "opportunistic"] * 2
    sender.close()
