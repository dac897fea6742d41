"""The control headers do what the JSON fields do, however they are written, and never travel on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP as SMTP_POLICY
from email.policy import default
from typing import Any

import orjson
import pytest

import models
from gateway import clock
from gateway.services import senders
from models.vocabulary import Stream
from tests.smtp.conftest import Customer, Running
from tests.smtp.test_submission import mail, only_message, stored, submit

CONTROLS = (
    b"x-tags",
    b"x-metadata",
    b"x-track-opens",
    b"x-track-links",
    b"x-send-at",
    b"x-stream",
    b"x-idempotency-key",
    b"x-dry-run",
)
one_database = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""Reading is the same on both."""


def with_lines(*lines: bytes) -> bytes:
    return mail().as_bytes().replace(b"\r\n\r\n", b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n", 1)


def header() -> bytes:
    return stored(only_message()).partition(b"\r\n\r\n")[0].lower()


def test_they_do_what_the_fields_do_and_go(part: Running, customer: Customer) -> None:
    at = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    sent = mail(
        X_Tags="welcome, =?utf-8?q?gr=C3=BC=C3=9Fe?=, welcome",
        X_Metadata='{"order": 17}',
        X_Track_Opens="0",
        X_Track_Links="true",
        X_Send_At=at.strftime("%Y-%m-%d %H:%M:%S"),
        X_Stream="bulk",
        X_Idempotency_Key="order-17",
        X_Other="stays",
    )
    with customer.log_in(part) as client:
        assert submit(client, sent.as_bytes()).startswith("250")
    message = only_message()
    assert orjson.loads(message.tags) == ["welcome", "grüße"]
    assert orjson.loads(message.metadata) == {"order": 17}
    assert (message.track_opens, message.track_links) == (False, True)
    assert message.send_at_ms == int(at.timestamp()) * 1000
    (delivery,) = models.Delivery.select()
    assert delivery.due_ms == message.send_at_ms
    assert message.stream == models.Lane.get_by_id(delivery.lane_id).stream == Stream.BULK
    assert [row.key for row in models.IdempotencyKey.select()] == ["order-17"]
    assert b"x-other: stays" in header()
    assert not [name for name in CONTROLS if name in header()]


@one_database
def test_folded_and_encoded_as_mail_libraries_do(part: Running, customer: Customer) -> None:
    """Python's email package folds and encodes every long value on its own; what it reads itself is what counts."""
    tags = [f"a rather long tag with a number {n} and Grüße" for n in range(20)]
    metadata = {f"key-{n}": "Zoë says “hello” " * 3 for n in range(20)}
    key = "k" * 200
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"], message["To"], message["Subject"] = "hello@shop.test", "jane@friends.test", "s"
    message["X-Tags"] = ", ".join(tags)
    message["X-Metadata"] = orjson.dumps(metadata).decode()
    message["X-Idempotency-Key"] = key
    message.set_content("hi\n")
    assert b"=?utf-8?" in message.as_bytes()
    with customer.log_in(part) as client:
        assert submit(client, message.as_bytes()).startswith("250")
    found = only_message()
    read = BytesParser(policy=default).parsebytes(message.as_bytes())
    assert orjson.loads(found.tags) == [tag.strip() for tag in read["X-Tags"].split(",")]
    assert orjson.loads(found.metadata) == orjson.loads(str(read["X-Metadata"]))
    assert read["X-Idempotency-Key"] == key
    assert [row.key for row in models.IdempotencyKey.select()] == [key]
    assert not [name for name in CONTROLS if name in header()]


@one_database
@pytest.mark.parametrize(
    ("lines", "column", "value"),
    [
        ((b"x-tags:\r\n a,\r\n\tb",), "tags", ["a", "b"]),
        ((b'X-TAGS: ["a, b", " c ", ""]',), "tags", ["a, b", "c"]),
        ((b"X-Tags:",), "tags", []),
        (("X-Tags: grüße".encode(),), "tags", ["grüße"]),
        ((b'X-Metadata: {"a":\r\n  "b c",\r\n\t"d": [{"e": null}]}',), "metadata", {"a": "b c", "d": [{"e": None}]}),
        ((b'X-Metadata: =?utf-8?b?eyJhIjogIlpvw6sifQ==?=',), "metadata", {"a": "Zoë"}),
    ],
)  # fmt: skip
def test_each_way_to_write_them(
    part: Running, customer: Customer, lines: tuple[bytes, ...], column: str, value: Any
) -> None:
    with customer.log_in(part) as client:
        assert submit(client, with_lines(*lines)).startswith("250")
    assert orjson.loads(getattr(only_message(), column)) == value
    assert not [name for name in CONTROLS if name in header()]


@one_database
@pytest.mark.parametrize(
    ("word", "value"), [("1", True), ("=?utf-8?q?no?=", False), ("ON", True), ("", None), ("False", False)]
)
def test_flags(part: Running, customer: Customer, word: str, value: bool | None) -> None:
    domain = senders.sender(customer.sender.domain.id)
    assert domain is not None
    with customer.log_in(part) as client:
        lines = f"X-Track-Opens: {word}", f"X-Track-Links: {word}"
        assert submit(client, with_lines(*(line.encode() for line in lines))).startswith("250")
    message = only_message()
    expected = (domain.track_opens, domain.track_links) if value is None else (value, value)
    assert (message.track_opens, message.track_links) == expected


@one_database
@pytest.mark.parametrize("form", ["{seconds}", "{at:%Y-%m-%d %H:%M:%S}", "{at:%Y-%m-%dT%H:%M:%SZ}"])
def test_each_way_to_write_a_time(part: Running, customer: Customer, form: str) -> None:
    at = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    text = form.format(at=at, seconds=int(at.timestamp()))
    with customer.log_in(part) as client:
        assert submit(client, with_lines(f"X-Send-At: {text}".encode())).startswith("250")
    assert only_message().send_at_ms == int(at.timestamp()) * 1000


@one_database
@pytest.mark.parametrize("text", ["0", "2001-01-01 00:00:00", ""])
def test_the_past_is_now(part: Running, customer: Customer, text: str) -> None:
    with customer.log_in(part) as client:
        assert submit(client, with_lines(f"X-Send-At: {text}".encode())).startswith("250")
    assert only_message().send_at_ms is None
    (delivery,) = models.Delivery.select()
    assert delivery.due_ms <= clock.now_ms()


@one_database
@pytest.mark.parametrize(
    "lines",
    [
        (b"X-Metadata: [1]",),
        (b"X-Metadata: {",),
        (b"X-Metadata: nothing",),
        (b"X-Metadata:",),
        (b'X-Metadata: {"a": NaN}',),
        (b'X-Metadata: {"a": "\\ud800"}',),
        (b"X-Metadata: " + b'{"a":' * 5000 + b"1" + b"}" * 5000,),
        (b"X-Metadata: {}", b"X-Metadata: {}"),
        (b'X-Tags: ["a", 1]',),
        (b'X-Tags: ["a\\r\\nBcc: evil@example.org"]',),
        (b"X-Tags: [",),
        (b"X-Tags: " + b"t" * 191,),
        (b"X-Tags: " + b",\r\n ".join(b"t%d" % n for n in range(51)),),
        (b"X-Tags: \xff\xfe",),
        (b"X-Tags: a", b"x-tags: b"),
        (b"X-Track-Opens: perhaps",),
        (b"X-Track-Opens: 1", b"X-Track-Opens: 1"),
        (b"X-Track-Links: 2",),
        (b"X-Stream: fast",),
        (b"X-Stream: bulk", b"X-Stream: bulk"),
        (b"X-Send-At: tomorrow",),
        (b"X-Send-At: 2026-02-30 00:00:00",),
        (b"X-Send-At: 4070952000",),
        (b"X-Send-At: 99999999999999999999",),
        (b"X-Send-At: 0", b"X-Send-At: 0"),
        (b"X-Idempotency-Key: " + b"k" * 256,),
        (b"X-Idempotency-Key:",),
        (b'X-Idempotency-Key: ""',),
        ("X-Idempotency-Key: ü".encode(),),
        (b"X-Idempotency-Key: a", b"X-Idempotency-Key: b"),
        (b"X-Tags : a",),
    ],
    ids=lambda lines: lines[0][:40].decode("latin-1"),
)
def test_what_cannot_be_understood_refuses_the_message(
    part: Running, customer: Customer, lines: tuple[bytes, ...]
) -> None:
    with customer.log_in(part) as client:
        answer = submit(client, with_lines(*lines))
        assert answer.startswith("550 5.6.0"), answer
        name = lines[0].partition(b":")[0].strip().decode().title()
        assert name in answer.title() or "is no field" in answer
        assert submit(client, mail().as_bytes()).startswith("250")
    assert models.Message.select().count() == 1


@one_database
def test_a_quoted_key_is_the_bare_one(part: Running, customer: Customer) -> None:
    with customer.log_in(part) as client:
        answers = {submit(client, with_lines(b"X-Idempotency-Key: " + key)) for key in (b'"order-1"', b"order-1")}
    assert len(answers) == 1 and models.Message.select().count() == 1
