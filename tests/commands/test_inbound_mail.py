"""GetInboundMail and DeleteInboundMail by form and by JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway.services import inbound_mail, messages, users
from tests import cast

NOTE = b"From: Jane <jane@friends.test>\r\nSubject: Away\r\n\r\nUntil Monday.\r\n"


Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def sender(app: object) -> cast.Sender:
    return cast.sender()


@pytest.fixture(params=["form", "json"])
def ask(request: pytest.FixtureRequest, client: FlaskClient, sender: cast.Sender) -> Ask:
    key = users.add_key(email=sender.owner.email)["key"]

    def send(name: str, **params: Any) -> dict[str, Any]:
        fields = {"Command": f"EmailGateway.{name}", "APIKey": key, **params}
        answer = client.post("/api.php", **{"data" if request.param == "form" else "json": fields})
        assert answer.status_code == 200
        found: dict[str, Any] = answer.get_json()
        return found

    return send


def test_kept_mail_is_listed_shown_and_deleted(ask: Ask, sender: cast.Sender) -> None:
    message_id = messages.accept(sender.caller, cast.draft()).message_id
    (delivery,) = models.Delivery.select()
    number = inbound_mail.keep(
        kind=inbound_mail.AUTO_REPLY, why="A machine answered.", recipient="b+x@bounce.shop.test", mail_from="",
        content=NOTE, delivery_id=delivery.id, refused=False,
    )  # fmt: skip
    listed = ask("GetInboundMail", MessageID=message_id, Kind="auto_reply")
    assert (listed["Success"], listed["TotalRecords"]) == (True, 1)
    (one,) = listed["InboundMail"]
    assert (one["InboundMailID"], one["MessageID"], one["Recipient"]) == (str(number), message_id, "jane@friends.test")
    assert (one["From"], one["Subject"], one["Size"]) == ("Jane <jane@friends.test>", "Away", len(NOTE))
    assert (one["Refused"], one["Reason"], "Content" in one) == (False, "A machine answered.", False)
    assert ask("GetInboundMail", Kind="letter")["InboundMail"] == []
    shown = ask("GetInboundMail", InboundMailID=number)["InboundMail"][0]
    assert shown == {**one, "Content": NOTE.decode()}
    assert ask("DeleteInboundMail", InboundMailID=number)["Success"]
    assert ask("GetInboundMail")["TotalRecords"] == 0


@pytest.mark.parametrize(
    ("name", "params", "number"),
    [
        ("GetInboundMail", {"InboundMailID": 987654321}, 1),
        ("GetInboundMail", {"MessageID": "01a1fbad-0000-7000-8000-000000000000"}, 2),
        ("GetInboundMail", {"Kind": "spam"}, 3),
        ("DeleteInboundMail", {}, 1),
        ("DeleteInboundMail", {"InboundMailID": 987654321}, 2),
    ],
)
def test_every_number(ask: Ask, name: str, params: dict[str, Any], number: int) -> None:
    answer = ask(name, **params)
    assert (answer["Success"], answer["ErrorCode"]) == (False, number)
