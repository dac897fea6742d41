"""The schedule of retries over simulated days."""

from __future__ import annotations

from gateway.services import retries


def test_the_schedule_grows_to_four_hours_and_stays_there() -> None:
    now = 1_700_000_000_000
    waits = [(retries.next_due_ms(attempts=n, now_ms=now) - now) / 1000 for n in range(1, 12)]
    for wait, step in zip(waits, [60, 300, 900, 1800, 3600, 7200, 14400, 14400, 14400, 14400, 14400], strict=True):
        assert step * 0.8 <= wait <= step * 1.2


def test_about_twenty_four_attempts_in_three_days() -> None:
    now = start = 1_700_000_000_000
    attempts = 0
    while now - start < 72 * 3_600_000:
        attempts += 1
        now = retries.next_due_ms(attempts=attempts, now_ms=now)
    assert 21 <= attempts <= 30


def test_jitter_spreads_equal_deliveries() -> None:
    assert len({retries.next_due_ms(attempts=3, now_ms=0) for _ in range(50)}) > 40


def test_the_remotes_wish_is_kept_within_reason() -> None:
    assert retries.next_due_ms(attempts=1, now_ms=0, asked_s=600) >= 600_000
    assert retries.next_due_ms(attempts=1, now_ms=0, asked_s=10**9) <= 14_400_000
