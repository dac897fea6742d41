"""The quick way through the messages of a bulk request: what it reads is what the thorough one does."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gateway import errors
from tests import cast
from tests.web.conftest import app, cheap_passwords
from tests.web.rest.test_v1_send import who
from web.rest.v1.sending.reader import Reader

__all__ = ["app", "cheap_passwords", "who"]

_VALUES: dict[str, list[Any]] = {
    "from": ["The Shop <hello@shop.test>", "hello@SHOP.test", "x@elsewhere.test", {"email": "a@shop.test"}, "", None],
    "to": [
        "jane@friends.test", "Jane <jane@friends.test>", '"Doe, J" <j@friends.test>', "a@x.test, b@x.test", "x@", "",
        ["a@x.test", {"email": "b@x.test", "name": "B"}], ["a@x.test"] * 60, None, 7,
    ],
    "subject": ["Hello", "  spaced ", "", None, "a\nb", 7, "é" * 10],
    "html": ["<p>Hi</p>", "", None, 7, "nul\0"],
    "text": ["Hi", "", None, []],
    "tags": [["a", "b"], "a,b", [], None, [7], ["x" * 300]],
    "metadata": [{"order": 7}, {}, None, "no", {"n": 2**70}],
    "headers": [{"X-Shop": "1"}, {"To": "x@y.test"}, None, [{"name": "X-A", "value": "b"}]],
    "variables": [{"name": "Ann"}, {}, None, [1]],
    "idempotency_key": ["key-1", "", None, "é", "x" * 300],
    "cc": ["c@x.test", "", None],
    "reply_to": ["r@x.test", None],
    "track_opens": [True, "false", "maybe", None],
    "scheduled_at": [None, "2999-01-01T00:00:00Z", "soon", 7],
    "purpose": ["x"],
    "stream": ["bulk", "none", None],
    "type": ["transactional", "campaign", "", "x"],
    "dry_run": [True, False, "x"],
    "template": ["nothing", "", None],
    "routing": [{"purpose": "marketing"}, {"server": "x" * 99}, "no"],
}  # fmt: skip
_OFTEN = ("from", "to", "subject", "html", "text")


def _some(rng: random.Random, share: float, good: float) -> dict[str, Any]:
    found = {}
    for name, values in _VALUES.items():
        if rng.random() < (0.7 if name in _OFTEN else share):
            found[name] = values[0] if rng.random() < good else rng.choice(values)
    return found


def test_a_message_is_read_alike_on_both_ways(who: cast.Sender) -> None:
    rng = random.Random(31)
    quick = 0
    for _ in range(400):
        defaults = _some(rng, 0.1, 0.95)
        reader = Reader(who.caller)
        for _ in range(8):
            own = _some(rng, 0.05, 0.8)
            try:
                item = reader.quickly(defaults, own)
            except errors.GatewayError as refusal:
                with pytest.raises(type(refusal)):
                    Reader(who.caller).read({**defaults, **own})
                continue
            if item is None:
                continue
            quick += 1
            read = Reader(who.caller).read({**defaults, **own})
            assert (read.caller, read.drafts, read.campaign, read.dry_run) == (item.caller, [item.draft], False, False)
    assert quick > 500


def test_what_is_shared_is_not_changed_by_one_message(who: cast.Sender) -> None:
    reader = Reader(who.caller)
    defaults = {"from": "hello@shop.test", "subject": "Hi", "text": "x", "tags": ["shared"], "metadata": {"a": 1}}
    own = {"to": "a@friends.test", "tags": ["own"], "metadata": {"b": 2}, "subject": "Own"}
    first, second = reader.quickly(defaults, own), reader.quickly(defaults, {"to": "b@friends.test"})
    assert first is not None and second is not None
    assert (first.draft.tags, first.draft.metadata, first.draft.subject) == (["own"], {"b": 2}, "Own")
    assert (second.draft.tags, second.draft.metadata, second.draft.subject) == (["shared"], {"a": 1}, "Hi")
