"""Signs of life: given while alive, silent when not, dropped at a new start."""

from __future__ import annotations

import threading

from gateway.services import health, pulse


def test_a_living_part_beats_and_a_stuck_one_does_not(store: str) -> None:
    asked = threading.Event()

    def stuck() -> bool:
        asked.set()
        return False

    stops = [pulse.start("web"), pulse.start("beat", stuck)]
    try:
        assert asked.wait(5)
        for _ in range(100):
            if health.silent(["web"]) == []:
                break
            threading.Event().wait(0.05)
        assert health.silent(["web", "beat"]) == ["beat"]
    finally:
        for stop in stops:
            stop.set()
    pulse.forget()
    assert health.silent(["web"]) == ["web"]
