"""What is wrong with a send: all faults of one request, gathered to be answered together."""

from __future__ import annotations

import re
from typing import Any

from commands.sending.codes import OTHER, REFUSALS, TEXTS, TOO_MANY_REQUESTS
from gateway import errors

_STATUS = {1: 401, 13: 401, 2: 404, 12: 404, 14: 409, 32: 403, 34: 403, 17: 429, TOO_MANY_REQUESTS: 429}
_DECIDES = (401, 429, 403, 404, 409, 413, 422)
"""Of errors of several kinds the status that comes first here is the answer's."""
_MOST_TEXTS = 5

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Faults:
    """Collects numbered errors; a number is listed once, and what has no number stands in one text together."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._others: dict[str, None] = {}
        self._statuses: set[int] = set()
        self.retry_after: int | None = None
        """Seconds after which a limit that refused may let the send pass."""
        self.verdicts: list[dict[str, Any]] | None = None
        """What the gates of a dry run decided, shown beside the errors; None for a real send."""

    def __bool__(self) -> bool:
        return bool(self._statuses)

    def add(self, code: int, text: str | None = None) -> None:
        """One of the documented errors, in its own words or in `text`."""
        self._texts.setdefault(code, text or TEXTS[code])
        self._statuses.add(_STATUS.get(code, 422))

    def other(self, text: str, status: int = 422) -> None:
        """A fault that the document gives no number."""
        if len(self._others) < _MOST_TEXTS:
            self._others[text] = None
        self._statuses.add(status)

    def refusal(self, error: errors.GatewayError) -> None:
        """What the engine refused, under its number."""
        if "retry_after" in error.data:
            self.retry_after = int(str(error.data["retry_after"]))
        for kind in type(error).__mro__:
            if kind in REFUSALS:
                number = REFUSALS[kind]
                self.add(number, TEXTS.get(number, error.message))
                return
        self.other(error.message, error.status)

    @property
    def codes(self) -> dict[int, str]:
        """The errors by number."""
        return self._texts | ({OTHER: " ".join(self._others)} if self._others else {})

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return next((status for status in _DECIDES if status in self._statuses), max(self._statuses, default=422))


def line_fault(text: str, most: int) -> str | None:
    """Why a text cannot stand in one line of a header, or None; `most` characters are allowed."""
    if len(text) > most:
        return f"has more than {most} characters."
    if _CONTROL.search(text):
        return "has a line break or a control character."
    return None if encodable(text) else "is not Unicode text."


def encodable(text: str) -> bool:
    """Whether the text can be stored and sent: a lone surrogate cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
