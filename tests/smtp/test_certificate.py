"""STARTTLS and SMTPS with the certificate that was made here."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

import models
from gateway import config
from gateway.services import certificates
from smtp.server import Server
from tests.conftest import use_settings
from tests.smtp.conftest import Customer, Running
from tests.smtp.test_submission import mail

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


def test_the_certificate_of_the_demo_serves_both(
    start: Callable[..., Running], customer: Customer, settings: config.Settings
) -> None:
    path = certificates.make(settings)
    part = start(SMTPS="127.0.0.1:0", SMTP_CLEAR_AUTH="")
    trusting = ssl.create_default_context(cafile=str(path))
    with part.client() as client:
        client._host = "localhost"  # the name that smtplib checks
        client.starttls(context=trusting)
        client.login(customer.login.username, customer.password)
        client.sendmail("a@shop.test", ["jane@friends.test"], mail().as_bytes())
    with smtplib.SMTP_SSL("localhost", part.ports["smtps"], context=trusting, timeout=10) as client:
        client.login(customer.login.username, customer.password)
        client.sendmail("a@shop.test", ["jane@friends.test"], mail().as_bytes())
    with part.client("inbound") as client:
        client.ehlo()
        assert "starttls" in client.esmtp_features
    assert models.Message.select().count() == 2


@pytest.mark.parametrize(("host", "made"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True), ("::", True)])
def test_who_listens_to_more_than_loopback_has_one(store: str, tmp_path: Path, host: str, made: bool) -> None:
    settings = use_settings(tmp_path, SMTP=f"[{host}]:0" if ":" in host else f"{host}:1")
    Server(settings)
    assert certificates.made(settings) is made
