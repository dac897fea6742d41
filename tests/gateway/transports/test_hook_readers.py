"""Readers of signed calls whose content is of any shape: reports with the right types, or a refusal, never a crash."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import config
from gateway.transports.hooks import mailgun, resend, sendgrid, ses, sns
from gateway.transports.hooks.report import BadSignature, Batch, Call, Unreadable
from models.vocabulary import EventKind
from tests.conftest import use_settings
from tests.peers import provider_calls
from tests.peers.http_sink import HttpSink

READERS = {"ses": ses.read, "mailgun": mailgun.read, "sendgrid": sendgrid.read, "resend": resend.read}
WORDS = ("delivered", "deferred", "bounced", "failed", "complained", "opened", "clicked", "unknown")

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


class World:
    """Each provider with what makes a signed call of any content."""

    def __init__(self, sink: HttpSink) -> None:
        self.peers: dict[str, Any] = {
            "ses": provider_calls.Sns(sink), "mailgun": provider_calls.Mailgun(),
            "sendgrid": provider_calls.Sendgrid(), "resend": provider_calls.Resend(),
        }  # fmt: skip

    def event(self, kind: str, word: str) -> Any:
        """What the provider would say, unsigned."""
        peer = self.peers[kind]
        if kind == "ses":
            return peer._event(word, "token", {})
        if kind == "sendgrid":
            return peer.event(word, "token")
        found = json.loads(peer.call(word, "token")[1])
        return found["event-data"] if kind == "mailgun" else found

    def read(self, kind: str, event: Any) -> Batch:
        peer = self.peers[kind]
        if kind == "ses":
            headers, body = peer.signed({"Type": "Notification", "Message": json.dumps(event)})
        elif kind == "mailgun":
            headers, body = {}, json.dumps({"signature": peer.signature(time.time()), "event-data": event}).encode()
        elif kind == "sendgrid":
            headers, body = peer.signed([event])
        else:
            headers, body = peer.signed(event)
        call = Call({name.lower(): value for name, value in headers.items()}, body)
        return READERS[kind](call, peer.config, peer.credentials, config.settings())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data: Path = tmp_path_factory.mktemp("hooks")
    use_settings(data, DELIVERY_ALLOW="127.0.0.0/8")
    sns.forget()
    with HttpSink() as sink:
        yield World(sink)
    config.use(None)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _paths(child, (*path, key))


def _changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _changed(value[path[0]], path[1:], new)
    return copied


def _check(batch: Batch) -> None:
    for report in batch.reports:
        texts = (
            report.id, report.type, report.token, report.rcpt, report.reply, report.mx, report.class_, report.category,
            report.enhanced, report.feedback, report.ip, report.agent, report.url,
        )  # fmt: skip
        assert all(isinstance(text, str) for text in texts) and len(report.type) <= 64
        assert report.kind is None or isinstance(report.kind, EventKind)
        assert report.at_ms is None or (isinstance(report.at_ms, int) and abs(report.at_ms) < 2**63)
        assert report.code is None or (isinstance(report.code, int) and 200 <= report.code < 600)
        assert isinstance(report.raw, bytes)


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(word=st.sampled_from(WORDS), pick=st.integers(0, 200), new=_JSON)
def test_any_value_anywhere(world: World, kind: str, word: str, pick: int, new: Any) -> None:
    event = world.event(kind, word)
    paths = list(_paths(event))
    changed = _changed(event, paths[pick % len(paths)], new)
    try:
        _check(world.read(kind, changed))
    except Unreadable:
        assert not isinstance(changed, dict)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_read(world: World, kind: str, word: str) -> None:
    (report,) = world.read(kind, world.event(kind, word)).reports
    wanted = None if word == "unknown" else EventKind[word.upper()]
    assert (report.kind, report.token) == (wanted, "token")
    assert report.rcpt == "jane@friends.test"


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"7", b'"x"', b"{}", b"\xff", b'{"Type":7}', b'{"signature":7}'])
@pytest.mark.parametrize("kind", READERS)
def test_bodies_without_a_signature(world: World, kind: str, body: bytes) -> None:
    peer = world.peers[kind]
    with pytest.raises((BadSignature, Unreadable)):
        READERS[kind](Call({}, body), peer.config, peer.credentials, config.settings())
