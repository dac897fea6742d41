"""Which refusals move a message, when a server is left alone, and what survives of both in the journal."""

from __future__ import annotations

import pytest

from gateway.services import failover, server_health
from gateway.services.outcomes import Done
from gateway.services.routes import Next
from gateway.services.server_health import Health
from gateway.transports.outcome import Outcome, Result

DEFERRED, BOUNCED = Result.DEFERRED, Result.BOUNCED


@pytest.mark.parametrize(
    ("outcome", "moves"),
    [
        (Outcome(DEFERRED, None, reply="no connection to it: connection refused", category="network"), True),
        (Outcome(DEFERRED, 421, reply="going down", category="network"), True),
        (Outcome(DEFERRED, 554, reply="no service here", category="policy"), True),
        (Outcome(DEFERRED, 535, "5.7.8", "wrong", "ours"), True),
        (Outcome(DEFERRED, 530, "5.7.0", "log in first", "ours"), True),
        (Outcome(DEFERRED, 454, reply="Throttling failure: Daily message quota exceeded.", category=""), True),
        (Outcome(DEFERRED, 450, "4.7.1", "you have exceeded your hourly sending limit", "policy"), True),
        (Outcome(DEFERRED, 451, "4.3.0", "system busy", "network"), True),
        (Outcome(DEFERRED, 450, "4.2.0", "Greylisted, try again", "policy"), False),
        (Outcome(DEFERRED, 452, "4.2.2", "over quota", "mailbox_full"), False),
        (Outcome(BOUNCED, 550, "5.1.1", "no such user", "recipient"), False),
        (Outcome(BOUNCED, 554, "5.7.1", "spam", "content"), False),
        (Outcome(BOUNCED, 550, "5.7.1", "Your account has been suspended", "ours"), True),
        (Outcome(Result.IN_DOUBT, None, reply="no reply", category="network"), False),
        (Outcome(Result.DELIVERED, 250), False),
    ],
)
def test_what_is_said_of_us_moves_a_message(outcome: Outcome, moves: bool) -> None:
    assert failover.moves(outcome) is moves


def test_silence_and_what_moves_count_against_a_server() -> None:
    assert failover.fails(Outcome(Result.IN_DOUBT))
    assert failover.fails(Outcome(DEFERRED, 421, ours_to_move=True))
    assert failover.fails(Outcome(BOUNCED, 550, category="ours", ours_to_move=True))
    # A provider that has no words for this message has them for the next.
    assert not failover.fails(Outcome(BOUNCED, category="content", ours_to_move=True))
    assert not failover.fails(Outcome(BOUNCED, 550, "5.1.1", category="recipient"))
    assert not failover.fails(Outcome(Result.HANDED_OVER, 200))


def test_a_run_opens_it_and_each_failed_probe_doubles_the_pause() -> None:
    health = Health()
    assert [health.note(failed=True) for _ in range(server_health.RUN - 1)] == [None] * (server_health.RUN - 1)
    assert health.note(failed=False) is None
    assert [health.note(failed=True) for _ in range(server_health.RUN)][-1] == server_health.FIRST_S
    assert health.note(failed=True) is None  # what was on its way
    seconds = []
    for _ in range(8):
        health.resumed()
        assert health.probing
        seconds.append(health.note(failed=True))
    assert seconds == [60, 120, 240, 480, 900, 900, 900, 900]
    health.resumed()
    assert health.note(failed=False) is None
    assert not health.probing
    assert [health.note(failed=True) for _ in range(server_health.RUN)][-1] == server_health.FIRST_S


def test_a_server_gets_the_time_that_it_asks_for() -> None:
    health = Health()
    assert health.note(failed=True, asked_s=7) == 7
    health.resumed()
    assert health.note(failed=True, asked_s=86_400) == server_health.LONGEST_S


@pytest.mark.parametrize("goes_on", [None, Next("rule:7/srv:3", True, "second", 2), Next("only/srv:1")])
def test_where_a_message_goes_on_survives_a_crash(goes_on: Next | None) -> None:
    done = Done(1, 2, Outcome(DEFERRED, 421, reply="no", ours_to_move=True), "smtp:1", 5, 6, False, goes_on)
    assert Done.parse((1, 2), done.dump()) == done
