"""DKIM: an independent verifier accepts every signature and notices every change."""

from __future__ import annotations

import base64
import functools
import re

import dkim as verifier
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Invalid
from gateway.mail import compose, dkim
from gateway.mail.draft import Mailbox

NOW = 1_700_000_000


@functools.cache
def pair(algorithm: str) -> dkim.KeyPair:
    return dkim.generate(algorithm)


def keys() -> list[dkim.SigningKey]:
    return [dkim.load(f"s-{name}", name, pair(name).private) for name in (dkim.RSA, dkim.ED25519)]


def published(name: bytes, timeout: int = 5) -> bytes:
    zone = {f"s-{key.algorithm}._domainkey.example.com.": dkim.dns_value(key.algorithm, key.public) for key in keys()}
    return zone[name.decode()].encode()


def verified(message: bytes) -> list[bool]:
    """Whether each signature holds, top one first."""
    if not message.endswith(b"\r\n"):
        message += b"\r\n"  # as every SMTP client does, because the final dot stands on a line of its own
    found = []
    for index in range(2):
        try:
            found.append(bool(verifier.DKIM(message).verify(index, dnsfunc=published)))
        except verifier.ValidationError:
            found.append(False)
    return found


def signed(message: bytes) -> bytes:
    return dkim.sign(message, "example.com", keys(), now_s=NOW) + message


MESSAGE = compose.render(
    body=compose.build_body("<p>Hello</p>\n", "Hello\n"),
    message_id="1@example.com",
    date_ms=NOW * 1000,
    sender=Mailbox("jane@example.com", "Jane Dœ"),
    to=[Mailbox(f"user{i}@example.net", "A long name, folded") for i in range(8)],
    subject="Ein Betreff mit Umlauten äöü und mehr als achtundsiebzig Zeichen, damit er gefaltet wird",
    headers=[("List-Unsubscribe", "<https://example.com/u>"), ("Feedback-ID", "a:b:c:d")],
)


def test_a_composed_message_verifies() -> None:
    assert verified(signed(MESSAGE)) == [True, True]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"\r\n\r\n\r\n",
        b" ",
        b"\t\r\n \r\n",
        b"text",
        b"text\r\n",
        b"text\r\n\r\n\r\n",
        b"text \t \r\n\t\r\n",
        b" leading\r\n\t\ttabs  and   runs\t\r\n  \r\nend \t",
        b"8-bit \xc3\xa9 \xff\r\n",
        b"no line end at all ",
        b" " * 5000,
        b"a" + b" \t" * 2000 + b"b\r\n",
    ],
)
def test_bodies(body: bytes) -> None:
    assert verified(signed(b"From: a@example.com\r\nSubject: x\r\n\r\n" + body)) == [True, True]


@pytest.mark.parametrize(
    "head",
    [
        b"From: a@example.com\r\n",
        b"FROM:a@example.com\r\nsubject:\r\n folded\r\n\t\ttwice  \r\n",
        b"From: a@example.com\r\nTo: x@example.net\r\nTo: y@example.net\r\nTo: z@example.net\r\n",
        b"From: a@example.com\r\nSubject: \t runs   of\twhite  \r\n",
        b"From: a@example.com\r\nSubject: \xc3\xa9 raw\r\n",
        b"From: a@example.com\r\nSubject:\r\nX-Other: y\r\n",
    ],
)
def test_header_fields(head: bytes) -> None:
    assert verified(signed(head + b"\r\nbody\r\n")) == [True, True]


def test_a_message_that_is_only_a_header() -> None:
    assert verified(signed(b"From: a@example.com\r\nSubject: x\r\n")) == [True, True]


_value = st.text(st.sampled_from("ab \té:;=<>@"), max_size=60).map(lambda text: text.encode())
_field = st.tuples(st.sampled_from(["Subject", "To", "X-Other", "list-unsubscribe", "MIME-VERSION", "Cc"]), _value)
_body = st.lists(st.text(st.sampled_from("ab \té.=\x0b\x0c"), max_size=30), max_size=8).map(
    lambda lines: "\r\n".join(lines).encode()
)


@given(st.lists(_field, max_size=6), _body, st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_message_verifies(fields: list[tuple[str, bytes]], body: bytes, folded: bool) -> None:
    head = b"From: a@example.com\r\n"
    for name, value in fields:
        text = value.replace(b" ", b"\r\n ", 1) if folded and value.strip(b" \t") else value
        if b"\r\n" in text and not text.partition(b"\r\n ")[2].strip(b" \t"):
            text = value
        head += name.encode() + b": " + text + b"\r\n"
    assert verified(signed(head + b"\r\n" + body)) == [True, True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Hello", b"Hullo"),
        (b"jane@example.com", b"john@example.com"),
        (b"Message-ID: <1@", b"Message-ID: <2@"),
        (b"Feedback-ID: a", b"Feedback-ID: b"),
        (b"MIME-Version:", b"Reply-To: x@example.net\r\nMIME-Version:"),
        (b"MIME-Version:", b"List-Unsubscribe-Post: x\r\nMIME-Version:"),
        (b"From: ", b"From: evil@example.net\r\nFrom: "),
        (b"Subject: ", b"Subject: other\r\nSubject: "),
        (b"MIME-Version:", b"Cc: x@example.net\r\nMIME-Version:"),
    ],
)
def test_changes_and_additions_are_noticed(old: bytes, new: bytes) -> None:
    whole = signed(MESSAGE)
    at = whole.index(b"From: =?")
    changed = whole[:at] + whole[at:].replace(old, new, 1)
    assert changed != whole
    assert verified(changed) == [False, False]


def test_white_space_may_change() -> None:
    whole = signed(b"From: a@example.com\r\nSubject: one two\r\n\r\none two\r\n")
    assert verified(whole.replace(b"one two", b"one \t two ") + b"\r\n\r\n") == [True, True]


def test_the_fields_of_a_signature() -> None:
    block = dkim.sign(MESSAGE, "example.com", keys(), now_s=NOW)
    assert all(len(line) <= 78 for line in block.split(b"\r\n"))
    first, second = re.split(rb"\r\n(?=DKIM)", block)
    tags = dict(tag.strip().split(b"=", 1) for tag in re.sub(rb"\s", b"", first.partition(b":")[2]).split(b";"))
    assert tags[b"v"] == b"1" and tags[b"a"] == b"rsa-sha256" and tags[b"c"] == b"relaxed/relaxed"
    assert tags[b"d"] == b"example.com" and tags[b"s"] == b"s-rsa" and tags[b"t"] == b"1700000000"
    assert b"l" not in tags and b"a=ed25519-sha256" in second
    listed = tags[b"h"].split(b":")
    # Present ones twice, so that a second cannot be added; absent ones once.
    twice = {b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"}
    twice |= {b"list-unsubscribe", b"feedback-id"}
    assert {name: listed.count(name) for name in listed} == {name: 2 if name in twice else 1 for name in dkim.SIGNED}


def test_one_key_or_none() -> None:
    assert dkim.sign(MESSAGE, "example.com", [], now_s=NOW) == b""
    assert dkim.sign(MESSAGE, "example.com", keys()[1:], now_s=NOW).count(b"DKIM-Signature") == 1


def test_generated_keys_and_records() -> None:
    value = dkim.dns_value(dkim.RSA, pair(dkim.RSA).public)
    assert value.startswith("v=DKIM1; k=rsa; p=MIIB")
    assert len(base64.b64decode(pair(dkim.ED25519).public)) == 32
    strings = dkim.split_txt(value)
    assert "".join(strings) == value and max(map(len, strings)) <= 255 and len(strings) == 2
    assert pair(dkim.RSA).private.startswith("-----BEGIN PRIVATE KEY-----")
    assert pair(dkim.RSA).private not in repr(pair(dkim.RSA))
    with pytest.raises(Invalid):
        dkim.generate("dsa")


def test_an_existing_key_is_adopted() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    old = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    adopted = dkim.adopt(old)
    assert adopted.algorithm == dkim.RSA and dkim.adopt(adopted.private) == adopted
    assert dkim.load("old", dkim.RSA, old).public == adopted.public


def test_keys_that_cannot_sign_are_refused() -> None:
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    elliptic = ec.generate_private_key(ec.SECP256R1())
    locked = elliptic.private_bytes(pem, plain, serialization.BestAvailableEncryption(b"secret")).decode()
    for text in (
        "",
        "no key",
        "\ud800",
        elliptic.private_bytes(pem, plain, serialization.NoEncryption()).decode(),
        locked,
        pair(dkim.RSA).private[:200],
    ):
        with pytest.raises(Invalid):
            dkim.adopt(text)
    with pytest.raises(Invalid):
        dkim.load("s", dkim.ED25519, pair(dkim.RSA).private)
