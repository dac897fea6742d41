"""The envelope sender that a client names: noted with the message, told to whoever asks, used nowhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import models
from gateway.mail import verp
from gateway.services import deliveries, explanations
from models.vocabulary import EventKind
from tests.peers.smtp_sink import SmtpSink
from tests.smtp.conftest import Customer, Running
from tests.smtp.test_submission import mail, only_message, stored, submit


@pytest.mark.parametrize("given", ["bounces@elsewhere.test", "", "zoë@bücher.test"])
def test_it_is_noted_and_replaced(start: Callable[..., Running], customer: Customer, given: str) -> None:
    with SmtpSink() as sink:
        part = start(DELIVERY=f"smtp://127.0.0.1:{sink.port}")
        with customer.log_in(part) as client:
            client.ehlo()
            client.command_encoding = "utf-8"
            assert client.docmd(f"MAIL FROM:<{given}>{'' if given.isascii() else ' SMTPUTF8'}")[0] == 250
            assert client.rcpt("jane@friends.test")[0] == 250
            assert client.data(mail(Return_Path="<old@elsewhere.test>").as_bytes())[0] == 250
        assert deliveries.drain(0.2) == 1
        deliveries.close()
        (arrived,) = sink.wait_for(1)
    (delivery,) = models.Delivery.select()
    assert verp.decode(arrived.mail_from) == delivery.id
    assert b"elsewhere.test" not in arrived.data and b"Return-Path" not in stored(only_message())
    shown = given or "<>"
    told = explanations.explain(caller=customer.sender.owner, message_id=str(only_message().uuid))
    auth = next(verdict for verdict in told.gates if verdict.gate == "auth")
    assert (auth.rule, auth.details["mail_from"]) == ("smtp_login", shown)
    (accepted,) = [row for row in told.events if row.kind is EventKind.ACCEPTED]
    assert accepted.data["mail_from"] == shown


def test_it_may_be_anything_and_is_cut(part: Running, customer: Customer) -> None:
    with customer.log_in(part) as client:
        submit(client, mail().as_bytes(), sender='"a b\tc"@' + "x" * 400 + ".test")
    told = explanations.explain(caller=customer.sender.owner, message_id=str(only_message().uuid))
    noted = next(verdict for verdict in told.gates if verdict.gate == "auth").details["mail_from"]
    assert noted.startswith('"a b') and len(noted) <= 320 and noted.isprintable()
