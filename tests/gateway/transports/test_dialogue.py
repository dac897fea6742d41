"""A dialogue stays short and tells its end."""

from __future__ import annotations

from gateway.transports.dialogue import LIMIT, Dialogue


def test_lines_in_order_and_taken_once() -> None:
    dialogue = Dialogue()
    dialogue.note("connecting")
    dialogue.client("EHLO x")
    dialogue.server(250, "one\ntwo")
    assert dialogue.take() == "-- connecting\nC: EHLO x\nS: 250 one\n   two"
    assert dialogue.take() == ""


def test_a_long_one_loses_its_middle() -> None:
    dialogue = Dialogue()
    dialogue.client("the beginning")
    for _ in range(50):
        dialogue.server(250, "ü" * 5000)
    dialogue.server(550, "the end")
    text = dialogue.take()
    assert len(text.encode()) <= LIMIT
    assert text.startswith("C: the beginning\n")
    assert text.endswith("S: 550 the end")
    assert "\n…\n" in text
