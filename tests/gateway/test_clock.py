from __future__ import annotations

from math import inf

import pytest

from gateway import clock


def test_a_clock_that_was_set_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock._Wall, "ahead_ms", None)
    monkeypatch.setattr(clock._Wall, "jumped_s", -inf)
    real, offset = clock.now_ms, 0
    monkeypatch.setattr(clock, "now_ms", lambda: real() + offset)
    assert clock.steady_s() == inf
    offset = 1000  # as time servers correct it
    assert clock.steady_s() == inf
    offset = 3_600_000
    assert clock.steady_s() == 0
    first = clock.steady_s()
    assert 0 < first < 60
    assert clock.steady_s() > first
    offset = 0
    assert clock.steady_s() == 0


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (1700000000, 1_700_000_000_000),
        (1.5, 1500),
        ("1700000000", 1_700_000_000_000),
        (" -1 ", -1000),
        ("2023-11-14 22:13:20", 1_700_000_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-15 00:13:20.5+02:00", 1_700_000_000_500),
        (True, None),
        (1e308, None),
        ("tomorrow", None),
        ("2023-02-30 00:00:00", None),
        ("2023-11-14", None),
        ("", None),
        (None, None),
    ],
)
def test_moments_as_callers_write_them(value: object, ms: int | None) -> None:
    assert clock.moment_ms(value) == ms
