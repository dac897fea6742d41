"""Accepts and forgets: for benchmarks, never for mail."""

from __future__ import annotations

from collections.abc import Callable

from gateway.transports.outcome import Outcome, Result


class Null:
    """Transport and connection in one: it has no state."""

    name = "null"
    single = True

    def group(self, domain: str) -> str:
        return ""

    def open(self) -> Null:
        return self

    def send(
        self, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None], tls_required: bool = False
    ) -> Outcome:
        on_data()
        return Outcome(Result.DELIVERED, 250, "2.0.0", "2.0.0 forgotten", "", "null")

    def close(self) -> None:
        """There is nothing to close."""
