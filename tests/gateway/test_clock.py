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
