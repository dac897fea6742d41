"""A bounce or a complaint that comes back: within two seconds it is an event, a number, a suppression and a webhook."""

from __future__ import annotations

import json
import smtplib
import statistics
import time
from typing import Any

import pytest
import requests

from tests.cli.installation import wait_for
from tests.journeys.conftest import Start
from tests.peers.http_sink import HttpSink
from tests.peers.smtp_sink import SmtpSink
from tests.smtp.test_inbound import BOUNCE, COMPLAINT

pytestmark = pytest.mark.journey

SOON_S = 2.0
REPORTS = 3
"""Of each kind: the middle one counts, so that a machine that is busy for a moment fails nobody."""


@pytest.fixture(params=["sqlite", "mariadb"])
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"DATABASE_URL": request.getfixturevalue("mariadb")} if request.param == "mariadb" else {}


def test_everybody_concerned_knows_of_a_report_at_once(
    start: Start, settings: dict[str, str], sink: SmtpSink, listener: HttpSink
) -> None:
    installation = start(DELIVERY=sink.url, **settings)
    installation.cli("user", "add", "--email", "jane@people.test", "--password", "a long password")
    domain_id = installation.cli("domain", "add", "shop.test", "--user", "jane@people.test", "--trusted")["id"]
    key = installation.cli("key", "add", "--user", "jane@people.test", "--domain", "shop.test")["key"]
    session = installation.command("User.Login", Username="jane@people.test", Password="a long password")["SessionID"]

    def ask(name: str, **params: Any) -> dict[str, Any]:
        answer = installation.command(f"EmailGateway.{name}", SessionID=session, DomainID=domain_id, **params)
        assert answer["Success"] is True, answer
        return dict(answer)

    for event in ("bounce", "complaint"):
        ask("AddWebhook", Event=event, WebhookURL=f"{listener.url}/{event}")
    addresses = [f"reader{number}@friends.test" for number in range(2 * REPORTS)]
    for address in addresses:
        body = {
            "Subject": "News", "ContentType": "plain", "PlainContent": "Hello.",
            "From": {"email": "hello@shop.test", "name": "The Shop"}, "To": [{"email": address, "name": "Jane"}],
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {key}"}
        answer = requests.post(f"{installation.url}/api/v1/email", json=body, headers=headers, timeout=20)
        assert answer.status_code == 200, answer.text
    paths = {one.rcpts[0]: one.mail_from for one in sink.wait_for(len(addresses), timeout=30)}
    delivered = len(addresses)
    wait_for(lambda: ask("DomainStats")["Stats"]["Delivered"] == delivered, "all are delivered", 20)

    took: dict[str, list[float]] = {"bounce": [], "complaint": []}
    for number, address in enumerate(addresses):
        kind = ("bounce", "complaint")[number % 2]
        count = number // 2 + 1
        content = BOUNCE.replace(b"jane@friends.test", address.encode()) if kind == "bounce" else COMPLAINT
        path = paths[address]
        with smtplib.SMTP("127.0.0.1", installation.mx, timeout=20) as client:
            to = path if kind == "bounce" else "complaints@mx.gateway.test"
            client.sendmail("" if kind == "bounce" else "fbl@provider.test", [to], content % path.encode())
        answered = time.monotonic()

        def seen(kind: str = kind, count: int = count, address: str = address) -> bool:
            counted = ask("DomainStats")["Stats"][{"bounce": "Bounced", "complaint": "Complained"}[kind]]
            events = ask("GetEvents", StartFrom=0, RetrieveCount=50, Event=kind)["Events"]
            listed = ask("GetSuppressions", RetrieveCount=100)["Suppressions"]
            told = [json.loads(request.body)["EventData"]["To"] for request in listener.requests]
            return (
                counted == count
                and address in {row["Recipient"] for row in events}
                and address in {row["EmailAddress"] for row in listed if row["Reason"] == kind}
                and address in told
            )

        wait_for(seen, f"the {kind} of {address} is known to everybody", 20)
        took[kind].append(time.monotonic() - answered)
    for kind, seconds in took.items():
        assert statistics.median(seconds) <= SOON_S, (kind, seconds)
    assert {request.path for request in listener.requests} == {"/bounce", "/complaint"}
