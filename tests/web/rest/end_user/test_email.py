"""What a send stores and answers, over HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import uuid
from typing import Any

import pytest
import requests

from gateway import clock
from gateway.mail import container
from gateway.services import contents, suppressions
from models import database as db
from models.vocabulary import DeliveryState
from tests.conftest import Bells


def message() -> dict[str, Any]:
    """The one stored message."""
    columns = ("id", "uuid", "account_id", "domain_id", "from_addr", "subject", "tags", "headers", "track_opens",
               "track_links", "send_at_ms", "content_id")  # fmt: skip
    (row,) = db.rows(f"SELECT {', '.join(columns)} FROM message")
    found = dict(zip(columns, row, strict=True))
    return found | {"tags": json.loads(found["tags"]), "headers": json.loads(found["headers"])}


def deliveries() -> dict[str, int]:
    return dict(db.rows("SELECT rcpt, state FROM delivery"))


def body() -> bytes:
    """The stored content, unpacked."""
    content_id = message()["content_id"]
    return contents.load([content_id])[content_id][1]


class TestTheDocumentsExample:
    @pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
    def test_it_is_stored_and_answered_with_its_uuid(self, sender: Any, bells: Bells, form: bool) -> None:
        response = sender.send(form=form)
        assert response.status_code == 200
        assert list(response.json()) == ["MessageID"]
        row = message()
        assert uuid.UUID(response.json()["MessageID"]) == uuid.UUID(bytes=bytes(row["uuid"]))
        assert (row["account_id"], row["domain_id"]) == (sender.account.id, sender.domain.id)
        assert (row["from_addr"], row["subject"]) == ("sender@example.com", "Hello World")
        assert row["headers"]["from"] == ["John Doe", "sender@example.com"]
        assert row["headers"]["to"] == [["Jane Doe", "recipient@example.org"]]
        assert deliveries() == {"recipient@example.org": DeliveryState.QUEUED}
        assert b"<p>Hello, World!</p>" in body()
        assert bells == ["deliver"]

    def test_curls_form_content_type_with_json_in_it(self, sender: Any) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert sender.send(headers=headers).status_code == 200

    def test_everything_in_the_query_of_an_empty_post(self, sender: Any) -> None:
        response = sender.session.post(sender.url, params=sender.pairs(sender.payload()), timeout=20)
        assert response.status_code == 200
        assert deliveries() == {"recipient@example.org": DeliveryState.QUEUED}

    def test_multipart(self, sender: Any) -> None:
        files = [
            (name, (None, value))
            for name, value in [
                ("SenderAPIKey", sender.key),
                ("Subject", "Grüße"),
                ("ContentType", "plain"),
                ("PlainContent", "ä\nb"),
                ("From[email]", "sender@example.com"),
                ("To[0][email]", "recipient@example.org"),
                ("Tags[]", "one"),
                ("Tags[]", "two"),
            ]
        ]
        assert requests.post(sender.url, files=files, timeout=20).status_code == 200
        assert (message()["subject"], message()["tags"]) == ("Grüße", ["one", "two"])

    @pytest.mark.parametrize("method", ["get", "put", "delete"])
    def test_other_methods_send_nothing(self, sender: Any, method: str) -> None:
        response = sender.session.request(method, sender.url, json=sender.payload(), timeout=20)
        assert response.status_code == 405
        assert sender.stored() == []


class TestPeople:
    def test_to_cc_and_bcc_each_become_a_delivery_and_bcc_stays_hidden(self, sender: Any) -> None:
        sender.send(
            To=[{"email": "a@example.org", "name": "A"}, {"email": "b@example.org"}],
            CC=[{"email": "c@example.org", "name": "C"}],
            BCC=[{"email": "d@example.org", "name": "D"}],
            ReplyTo=[{"email": "r@example.net", "name": "R"}],
        )
        assert set(deliveries()) == {f"{letter}@example.org" for letter in "abcd"}
        stored = message()["headers"]
        assert stored["to"] == [["A", "a@example.org"], ["", "b@example.org"]]
        assert stored["cc"] == [["C", "c@example.org"]]
        assert stored["reply_to"] == [["R", "r@example.net"]]
        assert "d@example.org" not in json.dumps(stored)

    @pytest.mark.parametrize(
        ("spelling", "expected"),
        [
            ({"email": "a@example.org", "name": "A"}, ["A", "a@example.org"]),
            ("a@example.org", ["", "a@example.org"]),
            ("A <a@example.org>", ["A", "a@example.org"]),
            (["a@example.org"], ["", "a@example.org"]),
            ([{"Email": "a@example.org", "NAME": "A"}], ["A", "a@example.org"]),
            ([{"email": " a@EXAMPLE.org ", "name": None}], ["", "a@example.org"]),
            ([{"email": "a@bücher.example", "name": "Ä"}], ["Ä", "a@xn--bcher-kva.example"]),
        ],
    )
    def test_spellings_of_to(self, sender: Any, spelling: Any, expected: list[str]) -> None:
        assert sender.send(To=spelling).status_code == 200
        assert message()["headers"]["to"] == [expected]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("From", {"email": "x@example.com"}),
            ("from", {"email": "x@EXAMPLE.com", "name": "X"}),
            ("FROM", {"EMAIL": "x@example.com", "NAME": "X"}),
            ("From", {"email": "x@mail.example.com", "name": "X"}),
            ("From", "X <x@a.b.example.com>"),
        ],
    )
    def test_spellings_of_from_and_subdomains(self, sender: Any, name: str, value: Any) -> None:
        assert sender.send(**{"From": None, name: value}).status_code == 200
        assert message()["from_addr"].endswith("example.com")

    def test_an_address_listed_twice_is_written_to_once(self, sender: Any) -> None:
        sender.send(CC=[{"email": "recipient@example.org"}], BCC=[{"email": "recipient@example.org"}])
        assert len(deliveries()) == 1

    def test_the_suppressed_are_left_out_and_the_rest_is_sent(self, sender: Any) -> None:
        db.in_transaction(
            lambda tx: suppressions.add(
                tx, account_id=sender.account.id, domain_id=0, address="gone@example.org", reason="unsubscribe"
            )
        )
        response = sender.send(CC=[{"email": "gone@example.org"}])
        assert response.status_code == 200
        assert deliveries() == {
            "recipient@example.org": DeliveryState.QUEUED,
            "gone@example.org": DeliveryState.SUPPRESSED,
        }

    def test_a_suppression_of_another_domain_does_not_matter(self, sender: Any) -> None:
        other, _ = sender.add_domain("example.net")
        db.in_transaction(
            lambda tx: suppressions.add(
                tx, account_id=sender.account.id, domain_id=other.id, address="recipient@example.org", reason="bounce"
            )
        )
        assert sender.send().status_code == 200


class TestContent:
    @pytest.mark.parametrize("kind", ["html", "HTML", " Html ", "text/html"])
    def test_html(self, sender: Any, kind: str) -> None:
        assert sender.send(ContentType=kind, HtmlContent=None, HTMLContent="<p>ü</p>").status_code == 200
        assert "<p>ü</p>".encode() in body()

    @pytest.mark.parametrize("kind", ["plain", "Plain", "Text", "TEXT", "text/plain"])
    def test_plain(self, sender: Any, kind: str) -> None:
        assert sender.send(ContentType=kind, HtmlContent=None, PlainContent="a\nü").status_code == 200
        assert "a\nü".encode() in body()

    @pytest.mark.parametrize("kind", ["html", "plain"])
    def test_both_are_kept_whatever_the_type_says(self, sender: Any, kind: str) -> None:
        assert sender.send(ContentType=kind, PlainContent="in words").status_code == 200
        assert b"<p>Hello, World!</p>" in body()
        assert b"in words" in body()


class TestAttachments:
    def test_they_are_stored_decoded(self, sender: Any) -> None:
        blob = bytes(range(256)) * 40
        text = base64.encodebytes(blob).decode()  # with line breaks, as PHP's chunk_split makes them
        response = sender.send(
            Attachments=[
                {"Content": text, "Filename": "ä.bin", "Type": "application/x-thing", "Disposition": "attachment"},
                {"Content": "aGk", "Filename": "b.txt", "Type": "text/plain", "Disposition": "Inline", "ContentId": 7},
                {"content": "", "filename": "empty"},
            ]
        )
        assert response.status_code == 200
        _, _, (first, second, third) = container.deserialise(body())
        assert (first.content, first.filename, first.content_type) == (blob, "ä.bin", "application/x-thing")
        assert (first.inline, first.content_id) == (False, "")
        assert (second.content, second.inline, second.content_id) == (b"hi", True, "7")
        assert (third.content, third.filename) == (b"", "empty")

    def test_one_object_is_a_list_of_one(self, sender: Any) -> None:
        assert sender.send(Attachments={"Content": "aGk=", "Filename": "a"}).status_code == 200

    @pytest.mark.parametrize("by", ["plan", "setting"])
    def test_too_large_is_413(self, sender: Any, by: str) -> None:
        if by == "plan":
            sender.change(sender.plan, max_size=10_000)
            size = 20_000
        else:
            size = 27 * 1024 * 1024
        response = sender.send(Attachments=[{"Content": base64.b64encode(b"x" * size).decode(), "Filename": "a"}])
        assert response.status_code == 413
        assert [error["Code"] for error in response.json()["Errors"]] == [100010]
        assert sender.stored() == []

    def test_a_body_over_the_limit_of_a_request_is_413(self, sender: Any) -> None:
        response = sender.send(HtmlContent="x" * (38 * 1024 * 1024))
        assert response.status_code == 413
        assert sender.stored() == []


class TestHandling:
    @pytest.mark.parametrize(
        "headers",
        [{"X-Order-ID": "12", "List-Id": "<a.example.com>"},
         [{"name": "X-Order-ID", "value": 12}, {"Name": "List-Id", "Value": "<a.example.com>"}]],
    )  # fmt: skip
    def test_custom_headers_keep_their_spelling(self, sender: Any, headers: Any) -> None:
        assert sender.send(Headers=headers).status_code == 200
        assert message()["headers"]["custom"] == [["X-Order-ID", "12"], ["List-Id", "<a.example.com>"]]

    @pytest.mark.parametrize(
        ("given", "kept"),
        [(["a", "b", "a", " "], ["a", "b"]), ("solo", ["solo"]), ("", []), ([], []), (None, [])],
    )
    def test_tags(self, sender: Any, given: Any, kept: list[str]) -> None:
        assert sender.send(Tags=given).status_code == 200
        assert message()["tags"] == kept

    @pytest.mark.parametrize(
        ("given", "kept"),
        [(1, True), (0, False), (True, True), (False, False), ("1", True), ("FALSE", False), ("", True), (None, True)],
    )
    @pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
    def test_tracking_flags(self, sender: Any, given: Any, kept: bool, form: bool) -> None:
        sender.send(TrackOpens=given, TrackLinks=given, form=form)
        row = message()
        assert (bool(row["track_opens"]), bool(row["track_links"])) == (kept, kept)

    def test_the_keys_defaults_are_kept_and_the_send_overrides_them(self, sender: Any) -> None:
        key = sender.add_key(list_id="5", journey_id="6")
        sender.send(SenderAPIKey=key, JourneyID=" 77 ", ActionID="0198c3a6-7bb4-7d60-8000-1234567890ab")
        assert message()["headers"]["defaults"] == {
            "ListID": "5",
            "JourneyID": "77",
            "ActionID": "0198c3a6-7bb4-7d60-8000-1234567890ab",
        }

    def test_unknown_parameters_are_ignored(self, sender: Any) -> None:
        assert sender.send(Access="x", DisableCaptcha=True, SessionID="", Nested={"a": [1]}).status_code == 200


class TestSendAt:
    @pytest.mark.parametrize("form", ["seconds", "text", "sql", "rfc3339"])
    def test_a_time_ahead_waits(self, sender: Any, bells: Bells, form: str) -> None:
        at_ms = (clock.now_ms() // 1000 + 3600) * 1000
        value: Any = {
            "seconds": at_ms // 1000,
            "text": str(at_ms // 1000),
            "sql": clock.sql_text(at_ms),
            "rfc3339": clock.rfc3339(at_ms),
        }[form]
        assert sender.send(SendAt=value).status_code == 200
        assert message()["send_at_ms"] == at_ms
        assert db.rows("SELECT due_ms FROM delivery") in ([(at_ms,)], [[at_ms]])
        assert bells == []

    @pytest.mark.parametrize("value", [0, 1, -5, "2001-02-03 04:05:06", "1000000000", 1e9, "", None])
    def test_the_past_and_nothing_send_now(self, sender: Any, bells: Bells, value: Any) -> None:
        before = clock.now_ms()
        assert sender.send(SendAt=value).status_code == 200
        assert message()["send_at_ms"] is None
        assert before <= db.rows("SELECT due_ms FROM delivery")[0][0] <= clock.now_ms()
        assert bells == ["deliver"]

    @pytest.mark.parametrize(
        "value",
        ["soon", "2024-13-01 00:00:00", "2024-02-30 00:00:00", "2024-01-01", True, [1], {"a": 1}, "٣" * 10, "9" * 15],
    )
    def test_what_is_no_time_is_refused(self, sender: Any, value: Any) -> None:
        response = sender.send(SendAt=value)
        assert response.status_code == 422
        assert "SendAt" in response.json()["Errors"][0]["Message"]
        assert sender.stored() == []

    def test_milliseconds_by_mistake_are_too_far_ahead(self, sender: Any) -> None:
        response = sender.send(SendAt=clock.now_ms() + 60_000)
        assert "366 days" in response.json()["Errors"][0]["Message"]


class TestIdempotency:
    def test_the_same_request_again_gets_the_same_answer(self, sender: Any) -> None:
        first = sender.send(headers={"Idempotency-Key": '"order-1"'})
        again = sender.send(headers={"Idempotency-Key": "order-1"})
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.content == again.content
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (sender.count("message"), sender.count("delivery")) == (1, 1)

    def test_the_order_and_case_of_names_and_the_key_are_no_other_payload(self, sender: Any) -> None:
        headers = {"Idempotency-Key": "order-2"}
        first = sender.send(headers=headers)
        turned = {name.upper(): value for name, value in reversed(sender.payload().items())}
        turned["SENDERAPIKEY"] = sender.add_key()
        assert sender.post(turned, headers=headers).json() == first.json()

    def test_another_payload_is_422(self, sender: Any) -> None:
        headers = {"Idempotency-Key": "order-3"}
        sender.send(headers=headers)
        response = sender.send(headers=headers, Subject="Other")
        assert response.status_code == 422
        assert [error["Code"] for error in response.json()["Errors"]] == [100010]
        assert sender.count("message") == 1

    def test_a_refusal_is_not_kept(self, sender: Any) -> None:
        headers = {"Idempotency-Key": "order-4"}
        sender.change(sender.plan, emails_day=0)
        assert sender.send(headers=headers).status_code == 429
        sender.change(sender.plan, emails_day=1)
        assert sender.send(headers=headers).status_code == 200

    def test_parallel_twins_make_one_message(self, sender: Any) -> None:
        answers: list[Any] = []
        twins = [
            threading.Thread(target=lambda: answers.append(sender.send(headers={"Idempotency-Key": "twin"})))
            for _ in range(5)
        ]
        for twin in twins:
            twin.start()
        for twin in twins:
            twin.join()
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["MessageID"] for answer in answers}) == 1
        assert sender.count("message") == 1

    def test_a_strangers_key_of_the_same_text_is_another(self, sender: Any) -> None:
        headers = {"Idempotency-Key": "order-5"}
        first = sender.send(headers=headers)
        other_account = sender.add_account("stranger@example.net")
        _, key = sender.add_domain("example.net", account_id=other_account.id)
        answer = sender.send(SenderAPIKey=key, From={"email": "a@example.net"}, headers=headers)
        assert answer.status_code == 200
        assert answer.json() != first.json()

    @pytest.mark.parametrize("key", ["", '""', "x" * 256, "\xe4", '"unclosed'[:1] + "\x7f"])
    def test_a_key_that_cannot_be_one_is_refused(self, sender: Any, key: str) -> None:
        response = sender.send(headers={"Idempotency-Key": key})
        assert response.status_code == 422
        assert "Idempotency-Key" in response.json()["Errors"][0]["Message"]
        assert sender.stored() == []


def test_the_same_body_is_stored_byte_for_byte(sender: Any) -> None:
    html = "<p>" + "".join(chr(code) for code in range(0x20, 0x2FF)) + "🎉\t\r\n</p>"
    assert sender.send(HtmlContent=html).status_code == 200
    stored = container.deserialise(body())[0]
    assert stored is not None
    assert hashlib.sha256(stored.encode()).digest() == hashlib.sha256(html.encode()).digest()
