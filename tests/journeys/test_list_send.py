"""A send to a list, from the commands that make it to the sink: everyone on it, each with their own message."""

from __future__ import annotations

import email
import email.policy

import pytest
import requests

from tests.installation import Installation
from tests.journeys.conftest import Start
from tests.peers.smtp_sink import SmtpSink

pytestmark = pytest.mark.journey

SUBSCRIBERS = 300


def _command(installation: Installation, key: str, name: str, **params: object) -> dict[str, object]:
    body = {"APIKey": key, "Command": f"EmailGateway.{name}", **params}
    answer = requests.post(f"{installation.url}/api.php", json=body, timeout=30).json()
    assert answer["Success"] is True, answer
    return dict(answer)


@pytest.mark.parametrize("stores", ["sqlite-embedded", "mariadb-rabbitmq"], indirect=True)
def test_three_hundred_subscribers_get_their_own(start: Start, stores: dict[str, str], sink: SmtpSink) -> None:
    installation = start(DELIVERY=sink.url, **stores)
    user = installation.cli("user", "add", "--email", "jane@people.test", "--password", "a long password")
    domain = installation.cli("domain", "add", "shop.test", "--user", "jane@people.test", "--trusted")
    key = installation.cli("key", "add", "--user", "jane@people.test", "--domain", "shop.test")["key"]
    account = user["api_key"]
    news = _command(installation, account, "AddList", ListName="News")["NewListID"]
    people = [
        {"EmailAddress": f"reader{n}@friends.test", "Fields": {"firstName": f"Reader {n}"}} for n in range(SUBSCRIBERS)
    ]
    added = _command(installation, account, "AddSubscribers", ListID=news, Subscribers=people)
    assert added["Added"] == SUBSCRIBERS
    _command(installation, account, "UnsubscribeSubscriber", ListID=news, EmailAddress="reader7@friends.test")
    template = _command(
        installation, account, "AddTemplate", TemplateName="T", Subject="For {{ firstName }}",
        HTMLContent="<p>Dear {{ firstName }} in {{ city }}</p>", PlainContent="{{ email }}",
    )["NewTemplateID"]  # fmt: skip
    answer = requests.post(
        f"{installation.url}/api/v1/email",
        headers={"Authorization": f"Bearer {key}"},
        json={
            "From": {"email": "news@shop.test", "name": "The Shop"},
            "TemplateID": template,
            "TargetListID": news,
            "Variables": {"city": "Rome"},
        },
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    message_id = answer.json()["MessageID"]
    received = sink.wait_for(SUBSCRIBERS - 1, timeout=60)
    by_rcpt = {one.rcpts[0]: email.message_from_bytes(one.data, policy=email.policy.default) for one in received}
    assert len(received) == len(by_rcpt) == SUBSCRIBERS - 1
    assert "reader7@friends.test" not in by_rcpt
    for n in (0, 8, SUBSCRIBERS - 1):
        parsed = by_rcpt[f"reader{n}@friends.test"]
        assert (parsed["To"], parsed["Subject"]) == (f"reader{n}@friends.test", f"For Reader {n}")
        html = parsed.get_body(("html",))
        assert html is not None and f"Dear Reader {n} in Rome" in html.get_content()
        assert message_id in parsed["Message-ID"] and parsed["DKIM-Signature"]
    assert domain["name"] == "shop.test"
