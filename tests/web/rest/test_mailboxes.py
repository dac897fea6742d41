"""`/v1/mailboxes` and the mail in them."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from gateway.services import arrivals, mailboxes, messages
from gateway.services.mailbox_mail import Place
from tests import cast
from tests.web.rest.mailmark_world import Api, key


@pytest.fixture
def sender(client: FlaskClient) -> cast.Sender:
    return cast.sender()


@pytest.fixture
def api(client: FlaskClient, sender: cast.Sender) -> Api:
    return Api(client, key(sender))


def letter(answers: str) -> bytes:
    return (
        "From: Jane Doe <jane@friends.test>\r\nTo: hello@shop.test\r\nSubject: Re: Hi\r\n"
        f"In-Reply-To: {answers}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nYes.\r\n\r\n> Tea?\r\n"
        "--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=a.html\r\n\r\n<script>"
        "\r\n--b--\r\n"
    ).encode()


def test_create_list_delete(api: Api) -> None:
    assert api.get("/mailboxes") == []
    made = api("POST", "/mailboxes", {"address": "hello", "displayName": "Hello Team"})
    assert made.status_code == 201
    assert made.get_json()["fullAddress"] == "hello@shop.test"
    again = api("POST", "/mailboxes", {"address": "hello@shop.test"})
    assert (again.status_code, again.get_json()["code"]) == (409, "mailbox_exists")
    (one,) = api.get("/mailboxes")
    assert (one["address"], one["fullAddress"], one["displayName"]) == ("hello", "hello@shop.test", "Hello Team")
    for address, status in (("hello@other.test", 404), ("nobody", 404), ("hello@shop.test", 200), ("hello", 404)):
        assert api("DELETE", f"/mailboxes/{address}").status_code == status
    assert api.get("/mailboxes") == []


@pytest.mark.parametrize("body", [{}, {"address": ""}, {"address": 7}, {"address": "a b"}, {"address": "x@else.test"}])
def test_bad_addresses_are_400(api: Api, body: dict[str, object]) -> None:
    answer = api("POST", "/mailboxes", body)
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (400, "address")


def test_mail_is_shown_and_deleted(api: Api, sender: cast.Sender) -> None:
    mailbox = mailboxes.add(caller=sender.caller, address="hello")
    accepted = messages.accept(sender.caller, cast.draft())
    place = Place(mailbox.id, mailbox.account_id, mailbox.domain_id, mailbox.address)
    content = letter(f"<{accepted.message_id}@shop.test>")
    for _ in range(3):
        arrivals.receive(places=[place], mail_from="jane@friends.test", content=content)
    page = api.get("/mailboxes/hello/messages?limit=2&kind=reply")
    assert (len(page["data"]), page["has_more"]) == (2, True)
    rest = api.get(f"/mailboxes/hello/messages?limit=2&cursor={page['next_cursor']}")
    assert (len(rest["data"]), rest["has_more"]) == (1, False)
    one = page["data"][0]
    assert (one["kind"], one["preview"], one["attachments"]) == ("reply", "Yes.", 1)
    full = api.get(f"/mailboxes/hello@shop.test/messages/{one['id']}")
    assert (full["replyText"], full["quotedText"]) == ("Yes.", "> Tea?")
    assert full["attachments"][0]["filename"] == "a.html"
    enclosed = api("GET", f"/mailboxes/hello/messages/{one['id']}/attachments/0")
    assert enclosed.data == b"<script>"
    assert enclosed.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in enclosed.headers["Content-Security-Policy"]
    assert api("GET", f"/mailboxes/hello/messages/{one['id']}/raw").data == content
    assert api("GET", f"/mailboxes/hello/messages/{one['id']}/attachments/1").status_code == 404
    assert api("DELETE", f"/mailboxes/hello/messages/{one['id']}").status_code == 200
    assert api("DELETE", f"/mailboxes/hello/messages/{one['id']}").status_code == 404
    assert api.get("/mailboxes")[0]["messages"] == 2


def test_a_strangers_mail_is_absent(api: Api, client: FlaskClient, sender: cast.Sender) -> None:
    stranger = cast.sender("stranger", "other.test")
    theirs = mailboxes.add(caller=stranger.caller, address="hello")
    mailboxes.add(caller=sender.caller, address="hello")
    place = Place(theirs.id, theirs.account_id, theirs.domain_id, theirs.address)
    arrivals.receive(places=[place], mail_from="", content=letter("<x@y.test>"))
    (one,) = Api(client, key(stranger)).get("/mailboxes/hello/messages")["data"]
    for path in (f"/mailboxes/hello/messages/{one['id']}", f"/mailboxes/hello@other.test/messages/{one['id']}"):
        for method in ("GET", "DELETE"):
            assert api(method, path).status_code == 404
        assert api("GET", f"{path}/attachments/0").status_code == 404


def test_an_org_wide_key_reads_analytics_only(client: FlaskClient, sender: cast.Sender) -> None:
    api = Api(client, key(sender, org_wide=True))
    for method, path in (("GET", "/mailboxes"), ("POST", "/mailboxes"), ("DELETE", "/mailboxes/hello")):
        answer = api(method, path, {"address": "hello"} if method == "POST" else None)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "not_allowed")


def test_a_revoked_key_is_401(client: FlaskClient) -> None:
    answer = Api(client, "dm_live_nothing").client.get("/v1/mailboxes", headers={"Authorization": "Bearer dm_live_x"})
    assert (answer.status_code, answer.get_json()["error"]) == (401, "Invalid or revoked API key")
