"""The sign of life that a serving part gives every two seconds."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable

from gateway.services import health, scratchpad
from models import database as db

INTERVAL = 2.0
"""Seconds between two signs of life."""

_log = logging.getLogger("commandpost.pulse")
_writing = threading.Lock()

# A child forked while the pulse is inside SQLite would inherit SQLite's own locks, held for ever.
os.register_at_fork(before=_writing.acquire, after_in_parent=_writing.release, after_in_child=_writing.release)


def start(part: str, alive: Callable[[], bool] = lambda: True) -> threading.Event:
    """Beat for `part` from a thread of its own, now and as long as `alive()` holds; set the event to end it."""
    stop = threading.Event()
    threading.Thread(target=_run, args=(part, alive, stop), name=f"pulse-{part}", daemon=True).start()
    return stop


def _run(part: str, alive: Callable[[], bool], stop: threading.Event) -> None:
    failing = False
    while True:
        try:
            if alive():
                with _writing:
                    try:
                        health.beat(part)
                    finally:
                        db.close()
            failing = False
        except Exception as error:
            if not failing:
                _log.warning("pulse_lost", extra={"part": part, "cause": str(error)})
            failing = True
        if stop.wait(INTERVAL):
            return


def forget() -> None:
    """Drop this host's signs of life from an earlier run, so that a start does not look done before it is."""
    scratchpad.write("DELETE FROM heartbeat WHERE host = ?", (socket.gethostname(),))
