"""Keeps every message for reading instead of sending it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from gateway.transports.outcome import Outcome, Result
from gateway.transports.submittable import unsendable

_log = logging.getLogger(__name__)


class Store(Protocol):
    """Keeps one message durably before it returns; a repeated attempt may replace what the first one left."""

    def __call__(self, *, mail_from: str, rcpt: str, message: bytes) -> None: ...


class Capture:
    name = "capture"
    single = True

    def __init__(self, store: Store) -> None:
        self._store = store

    def group(self, domain: str) -> str:
        return ""

    def open(self) -> CaptureConnection:
        return CaptureConnection(self._store)


class CaptureConnection:
    def __init__(self, store: Store) -> None:
        self._store = store

    def send(
        self, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None], tls_required: bool = False
    ) -> Outcome:
        impossible = unsendable(mail_from, rcpt, message)
        if impossible is not None:
            return impossible
        on_data()
        try:
            self._store(mail_from=mail_from, rcpt=rcpt, message=message)
        except Exception as error:
            _log.exception("the message was not captured")
            return Outcome(Result.DEFERRED, None, "4.3.0", f"not captured: {error}", "ours", "capture")
        return Outcome(Result.DELIVERED, 250, "2.0.0", "2.0.0 captured, not sent", "", "capture")

    def close(self) -> None:
        """There is nothing to close."""
