"""Verdicts as messages keep them: packed, and read back for as long as the message is there."""

from __future__ import annotations

from gateway.services import verdicts
from tests.hostile_texts import TEXTS

_USUAL: verdicts.Trail = {
    verdicts.AUTH: {"gate": "auth", "rule": "key", "id": 4711, "live": True},
    verdicts.IDEMPOTENCY: {"gate": "idempotency", "decision": "no_key"},
    verdicts.SUPPRESSION: {"gate": "suppression", "blocked": 0},
    verdicts.ROUTE: {"gate": "route", "decision": "direct", "rule": "COMMANDPOST_DELIVERY", "route": "default"},
}
_PACKED = "1w5UaEanOxNzQkPKkRkR0UNNbAA=="


def test_what_is_packed_comes_out_in_the_order_of_the_gates() -> None:
    mixed = {gate: _USUAL[gate] for gate in reversed(_USUAL)}
    assert verdicts.unpack(verdicts.pack(mixed)) == list(_USUAL.values())
    assert len(verdicts.pack(_USUAL)) < 60
    assert verdicts.unpack(verdicts.pack({})) == []


def test_any_text_of_a_request_may_stand_in_one() -> None:
    for text in TEXTS:
        if "\ud800" in text:  # refused before any gate
            continue
        trail: verdicts.Trail = {verdicts.AUTH: {"gate": "auth", "mail_from": text, "more": [text * 50, None, 2**62]}}
        assert verdicts.unpack(verdicts.pack(trail)) == [trail[verdicts.AUTH]]


def test_what_was_packed_once_is_read_for_ever() -> None:
    """The words that texts are packed by belong to the stored form: this text was stored by an earlier release."""
    assert verdicts.unpack(_PACKED) == list(_USUAL.values())


def test_messages_from_before_have_json() -> None:
    assert verdicts.unpack('[{"gate":"auth","rule":"account"}]') == [{"gate": "auth", "rule": "account"}]
    assert verdicts.unpack("[]") == verdicts.unpack("") == []
