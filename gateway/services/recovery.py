"""Replaying the journals of processes that died: what they knew goes to the database, what they held goes back."""

from __future__ import annotations

import logging

from gateway import clock, config
from gateway.services import journal, lanes, outcomes
from gateway.services.journal import Remains
from gateway.services.outcomes import Done
from gateway.transports.outcome import Outcome, Result

_log = logging.getLogger("commandpost.deliver")


def vanished() -> Outcome:
    """The outcome of an attempt whose process ended in the middle of it."""
    return Outcome(Result.IN_DOUBT, reply="the process that held it ended before it could say what became of it")


def recover() -> int:
    """Replay the journals of processes that died; returns how many deliveries they held."""
    return sum(_replay(remains) for remains in journal.orphans(config.settings().data / "journal"))


def _replay(remains: Remains) -> int:
    now = clock.now_ms()
    done = [Done(*pair, vanished(), "", now, 0) for pair in remains.in_doubt]
    for pair, line in remains.answered.items():
        try:
            done.append(Done.parse(pair, line))
        except (ValueError, KeyError, TypeError):  # written by another version, or spoilt by a full disk
            done.append(Done(*pair, vanished(), "", now, 0))
    outcomes.apply_each(done)
    lanes.give_back(remains.unstarted, remains.leases)
    held = len(done) + len(remains.unstarted)
    if held:
        _log.warning(
            "journal_replayed",
            extra={
                "answered": len(remains.answered),
                "in_doubt": len(remains.in_doubt),
                "unstarted": len(remains.unstarted),
            },
        )
    return held
