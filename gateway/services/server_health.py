"""Whether a sending server works: a run of failures opens its breaker, a probe that succeeds closes it."""

from __future__ import annotations

RULE = "server_failures"
"""The name of the rule among the limits."""

RUN = 5
"""So many messages in a row that it could not take open the breaker."""

FIRST_S, LONGEST_S = 30, 900
"""The first pause; each that follows a failed probe is twice as long."""


class Health:
    """What one process knows of one server; not safe between threads by itself."""

    def __init__(self) -> None:
        self._run = 0
        self._pauses = 0
        self._open = False
        self.probing = False

    def note(self, *, failed: bool, asked_s: int | None = None) -> int | None:
        """Note how an attempt ended; where the server is to be left alone, for how many seconds.

        `asked_s` is what a server that failed asked for: it gets that at once.
        """
        if self._open:  # what was on its way when it opened
            return None
        if not failed:
            self._run, self._pauses, self.probing = 0, 0, False
            return None
        self._run += 1
        if asked_s is not None:
            seconds = max(1, min(asked_s, LONGEST_S))
        elif self._run < RUN and not self.probing:
            return None
        else:
            seconds = min(FIRST_S << self._pauses, LONGEST_S)
            self._pauses = min(self._pauses + 1, 10)
        self.paused()
        return seconds

    def paused(self) -> None:
        """A pause of this rule holds, made by this process or another."""
        self._open, self.probing, self._run = True, False, 0

    def resumed(self) -> None:
        """The pause ended, or was canceled: the next message decides."""
        if self._open:
            self._open, self.probing = False, True
