"""Who opened or clicked: each signal, and that a machine's outweighs the rest."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.services import hit_verdicts
from gateway.services.hit_verdicts import HUMAN, MACHINE, UNKNOWN, Evidence, is_burst, judge

BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"
GOOGLE = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


def _evidence(**changed: Any) -> Evidence:
    fields: dict[str, Any] = {"at_ms": 5000, "is_open": True, "agent": BROWSER, "ip": "192.0.2.1", "delivered_ms": 1000}
    return Evidence(**(fields | changed))


@pytest.mark.parametrize(
    ("changed", "word", "reasons"),
    [
        ({}, HUMAN, []),
        ({"at_ms": 1001}, HUMAN, []),  # the first second proves nothing
        ({"is_open": False}, HUMAN, []),
        ({"method": "HEAD"}, MACHINE, ["head_request"]),
        ({"purpose": "prefetch;anonymous-client-ip"}, MACHINE, ["prefetch"]),
        ({"at_ms": 999}, MACHINE, ["before_delivery"]),
        ({"delivered_ms": None}, MACHINE, ["before_delivery"]),
        ({"delivered_ms": None, "in_flight": True}, UNKNOWN, ["no_outcome_yet"]),
        ({"burst": True, "is_open": False}, MACHINE, ["burst"]),
        ({"agent": "BarracudaSentinel/1.0"}, MACHINE, ["scanner_agent"]),
        ({"agent": "curl/8.0"}, MACHINE, ["scanner_agent"]),
        ({"agent": "Mozilla/5.0"}, MACHINE, ["apple_proxy"]),
        ({"ip": "17.58.1.2"}, MACHINE, ["apple_proxy"]),
        ({"ip": "17.58.1.2", "is_open": False}, HUMAN, []),
        ({"agent": GOOGLE}, UNKNOWN, ["google_proxy"]),
        ({"agent": "YahooMailProxy; https://help.yahoo.com/"}, UNKNOWN, ["yahoo_proxy"]),
        ({"agent": ""}, UNKNOWN, ["no_user_agent"]),
        ({"agent": "", "method": "HEAD"}, MACHINE, ["head_request"]),
        ({"agent": GOOGLE, "at_ms": 1, "method": "HEAD"}, MACHINE, ["head_request", "before_delivery"]),
    ],
)
def test_the_table(changed: dict[str, Any], word: str, reasons: list[str]) -> None:
    found = judge(_evidence(**changed))
    assert (found.word, found.reasons) == (word, reasons)


@pytest.mark.parametrize(
    ("clicks", "bursts"),
    [
        ([(0, "a"), (1000, "b"), (2000, "c")], [True, True, True]),
        ([(0, "a"), (1000, "b"), (2001, "c")], [False, False, False]),
        ([(0, "a"), (1000, "a"), (1500, "b")], [False, False, False]),
        ([(0, "a"), (500, "b"), (900, "c"), (9000, "d")], [True, True, True, False]),
    ],
)
def test_three_links_within_two_seconds(clicks: list[tuple[int, str]], bursts: list[bool]) -> None:
    assert [is_burst(ms, clicks) for ms, _ in clicks] == bursts


def test_every_reason_is_named_once() -> None:
    names = [signal.reason for signal in hit_verdicts.SIGNALS]
    assert len(set(names)) == len(names)
