"""Malformed sends: each gets a documented answer, none a failure of ours, and nothing is half stored."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import database as db

FIELDS = [
    *("SenderAPIKey", "Subject", "ContentType", "HtmlContent", "PlainContent", "Attachments", "Headers", "Tags"),
    *("From", "To", "CC", "BCC", "ReplyTo", "TargetListID", "TemplateID", "TrackLinks", "TrackOpens", "SendAt"),
    *("ListID", "SubscriberID", "JourneyID", "ActionID"),
]

DEEP: Any = "x"
for _ in range(25):
    DEEP = {"email": DEEP, "list": [DEEP]} if _ < 5 else [DEEP]

WRONG: dict[str, Any] = {
    "number": 5,
    "float": 1e308,
    "negative": -1,
    "true": True,
    "empty object": {},
    "object": {"a": 1, "b": None},
    "list": [1, None, {"x": []}, [[]], True, "x"],
    "deep": DEEP,
    "huge text": "x" * 300_000,
    "control": "a\0b\x01c\x7f\x85\u2028",
    "replacement": "\ufffd\U000e0001\u202e",
    "long list": ["user@example.org"] * 1500,
}


on_one_database = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""For what is refused before any database is asked."""


def checked(sender: Any, response: requests.Response) -> list[int]:
    """The codes of a well-formed refusal after which nothing is stored; [] for an accepted message."""
    assert response.status_code < 500, response.text
    body = response.json()
    if response.status_code == 200:
        assert list(body) == ["MessageID"]
        return []
    assert response.status_code in (400, 401, 403, 404, 409, 413, 422, 429)
    assert list(body) == ["Errors"]
    found = [error["Code"] for error in body["Errors"]]
    assert found
    assert found == sorted(set(found))
    assert all(error["Message"] and list(error) == ["Code", "Message"] for error in body["Errors"])
    assert len(response.content) < 4096
    assert sender.stored() == []
    return found


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_types_in_every_field(sender: Any, kind: str) -> None:
    refused = 0
    for field in FIELDS:
        codes = checked(sender, sender.send(**{field: WRONG[kind]}))
        refused += bool(codes)
        if not codes:
            empty_the_store(sender)
    assert refused >= 8


def empty_the_store(sender: Any) -> None:
    """Take everything out again, so that the next refusal can be seen to store nothing."""

    def work(tx: db.Transaction) -> None:
        for table in sender.stored():
            tx.execute(f"DELETE FROM {table}")

    db.in_transaction(work)
    sender.forget()


@on_one_database
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Subject": 5}, 100010),
        ({"Subject": ["x"]}, 100010),
        ({"Subject": "x" * 999}, 100010),
        ({"HtmlContent": {"a": "b"}}, 100010),
        ({"HtmlContent": "a\0b"}, 100010),
        ({"PlainContent": 7}, 100010),
        ({"To": 5}, 100010),
        ({"To": [{"email": "a@example.org", "name": 5}]}, 100010),
        ({"To": [{"email": "a@example.org", "name": "x" * 256}]}, 100010),
        ({"To": [{"email": "x" * 250 + "@example.org"}]}, 19),
        ({"BCC": 5}, 24),
        ({"ReplyTo": True}, 28),
        ({"Attachments": "file"}, 100010),
        ({"Attachments": [5]}, 100010),
        ({"Attachments": [{}]}, 100010),
        ({"Attachments": [{"Filename": "a"}]}, 100010),
        ({"Attachments": [{"Content": "a=b=", "Filename": "a"}]}, 100010),
        ({"Attachments": [{"Content": "ä", "Filename": "a"}]}, 100010),
        ({"Attachments": [{"Content": "a", "Filename": "a"}]}, 100010),
        ({"Attachments": [{"Content": "_-8=", "Filename": "a"}]}, 100010),
        ({"Attachments": [{"Content": "data:text/plain;base64,aGk=", "Filename": "a"}]}, 100010),
        ({"Attachments": [{"Content": 5, "Filename": "a"}]}, 100010),
        ({"Attachments": [{"Content": "aGk=", "Filename": 5}]}, 100010),
        ({"Attachments": [{"Content": "aGk=", "Filename": "x" * 256}]}, 100010),
        ({"Attachments": [{"Content": "aGk=", "Filename": "a", "Type": "no type"}]}, 100010),
        ({"Attachments": [{"Content": "aGk=", "Filename": "a", "Disposition": "sideways"}]}, 100010),
        ({"Attachments": [{"Content": "aGk=", "Filename": "a", "ContentId": "a b"}]}, 100010),
        ({"Attachments": [{"Content": "aGk=", "Filename": "a", "ContentId": True}]}, 100010),
        ({"Attachments": [{"Content": "", "Filename": "a"}] * 251}, 100010),
        ({"Headers": "X-A: b"}, 100010),
        ({"Headers": ["X-A: b"]}, 100010),
        ({"Headers": {"X-A": None}}, 100010),
        ({"Headers": {"X-A": ["b"]}}, 100010),
        ({"Headers": {"X-A": True}}, 100010),
        ({"Headers": {"X A": "b"}}, 100010),
        ({"Headers": {"X-A": "x" * 10_000}}, 100010),
        ({"Headers": {f"X-{i}": "b" for i in range(101)}}, 100010),
        ({"Headers": {"From": "a@example.org"}}, 100010),
        ({"Headers": {"bcc": "a@example.org"}}, 100010),
        ({"Headers": {"DKIM-Signature": "v=1"}}, 100010),
        ({"Headers": {"Content-Type": "text/html"}}, 100010),
        ({"Headers": [{"value": "b"}]}, 100010),
        ({"Tags": {"a": "b"}}, 100010),
        ({"Tags": [5]}, 100010),
        ({"Tags": ["x" * 191]}, 100010),
        ({"Tags": [str(i) for i in range(51)]}, 100010),
        ({"TrackLinks": "maybe"}, 100010),
        ({"TrackOpens": 2}, 100010),
        ({"TrackOpens": [1]}, 100010),
        ({"SendAt": "tomorrow"}, 100010),
        ({"SendAt": 1e308}, 100010),
    ],
)
def test_a_wrong_value_has_its_code(sender: Any, change: dict[str, Any], code: int) -> None:
    response = sender.send(**change)
    assert checked(sender, response) == [code]
    assert response.status_code == 422


INJECTIONS = ["x\r\nBcc: evil@example.org", "x\nBcc: evil@example.org", "x\rBcc: evil@example.org", "x\0y"]
PLACES = [
    {"Subject": "…"},
    {"From": {"email": "sender@example.com", "name": "…"}},
    {"From": {"email": "…@example.com", "name": "x"}},
    {"From": "… <sender@example.com>"},
    {"To": [{"email": "recipient@example.org", "name": "…"}]},
    {"To": [{"email": "recipient@example.org…", "name": "x"}]},
    {"To": "…<recipient@example.org>"},
    {"CC": [{"email": "recipient@example.org", "name": "…"}]},
    {"BCC": [{"email": "recipient@example.org", "name": "…"}]},
    {"BCC": [{"email": "…@example.org"}]},
    {"ReplyTo": [{"email": "recipient@example.org", "name": "…"}]},
    {"ReplyTo": [{"email": "…recipient@example.org", "name": "x"}]},
    {"Headers": {"X-A": "…"}},
    {"Headers": {"X-A…": "b"}},
    {"Headers": [{"name": "X-A…", "value": "b"}]},
    {"Headers": [{"name": "X-A", "value": "…"}]},
    {"Tags": ["…"]},
    {"Attachments": [{"Content": "aGk=", "Filename": "…"}]},
    {"Attachments": [{"Content": "aGk=", "Filename": "a", "Type": "text/plain…"}]},
    {"Attachments": [{"Content": "aGk=", "Filename": "a", "ContentId": "…"}]},
    {"Attachments": [{"Content": "aGk=", "Filename": "a", "Disposition": "inline…"}]},
    {"ListID": "1…"},
    {"ContentType": "html…"},
    {"SendAt": "2030-01-01 00:00:00…"},
]


@on_one_database
@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
def test_no_line_break_gets_into_a_header(sender: Any, place: dict[str, Any], form: bool) -> None:
    for injection in INJECTIONS:
        text = json.dumps(place, ensure_ascii=False).replace("…", json.dumps(injection)[1:-1])
        response = sender.send(form=form, **json.loads(text))
        assert checked(sender, response), injection
        assert response.status_code == 422


BODIES: dict[str, bytes] = {
    "not json": b"{nonsense",
    "cut off": b'{"Subject": "x',
    "NaN": b'{"SendAt": NaN}',
    "infinity": b'{"SendAt": 1e999}',
    "lone surrogate": b'{"Subject": "\\ud800"}',
    "not utf-8": b'{"Subject": "\xff\xfe"}',
    "deep lists": b'{"To": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "deep objects": b'{"a":' * 900 + b"1" + b"}" * 900,
    "list": b"[1, 2]",
    "text": b'"hello"',
    "many items": b'{"To": [' + b"1," * 200_000 + b"1]}",
    "nul": b"\0\0\0\0",
    "nothing": b"",
    "spaces": b"   ",
}


@on_one_database
@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "", "x/y; a=b; c"])
def test_malformed_bodies(sender: Any, kind: str, content_type: str) -> None:
    headers = {"Authorization": f"Bearer {sender.key}"} | ({"Content-Type": content_type} if content_type else {})
    response = requests.post(sender.url, data=BODIES[kind], headers=headers, timeout=20)
    assert checked(sender, response)


@on_one_database
@pytest.mark.parametrize(
    "body",
    [
        "To[0][email=a&To]0[=b&[x]=1&=2&To[[0]]=5&&&===",
        "To" + "[0]" * 200 + "=x",
        "%ff%fe=%80&Subject=%ff",
        "Subject=a&Subject[b]=c&Subject[]=d",
        "To[email]=a@example.org&To[0][email]=b@example.org",
        "Headers[][X-A]=1&Headers[X-B]=2",
        "&".join(f"a{i}=1" for i in range(20_000)),
    ],
)
def test_malformed_forms(sender: Any, body: str) -> None:
    headers = {"Authorization": f"Bearer {sender.key}", "Content-Type": "application/x-www-form-urlencoded"}
    assert checked(sender, requests.post(sender.url, data=body, headers=headers, timeout=20))


@on_one_database
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer " + "x" * 5000},
        {"Authorization": "Bearer \xff\xe4"},
        {"Authorization": "Bearer a b c"},
    ],
)
def test_odd_credentials(sender: Any, headers: dict[str, str]) -> None:
    response = sender.send(SenderAPIKey=None, headers={k: v.encode("latin-1") for k, v in headers.items()})
    assert response.status_code == 401
    assert checked(sender, response)[0] in (1, 13)


def test_a_body_shorter_than_announced_stores_nothing(sender: Any) -> None:
    parts = urlsplit(sender.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    body = orjson.dumps(sender.payload())
    connection.putrequest("POST", parts.path)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:-10])
    connection.close()
    assert sender.send(Subject=None).status_code == 422  # the server still answers
    assert sender.stored() == []


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.sampled_from(["a@example.org", "a@example.com", "html", "1", "aGk=", "2030-01-01 00:00:00"]),
)
NAMES = st.sampled_from(["email", "name", "Email", "Content", "Filename", "Type", "value", "ContentId", "x", "0"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


def test_whatever_is_sent_no_answer_is_a_failure(sender: Any) -> None:
    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6))
    def send(change: dict[str, Any]) -> None:
        response = sender.post(orjson.dumps(sender.payload() | change))
        if not checked(sender, response):
            empty_the_store(sender)

    send()
