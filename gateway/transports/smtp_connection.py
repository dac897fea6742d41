"""A connection that outlives its sockets: opened on first use, kept between messages, replaced when it died."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from gateway.transports.destination import NoRoute, Target
from gateway.transports.dialogue import Dialogue
from gateway.transports.outcome import Outcome
from gateway.transports.smtp_client import SmtpClient, TlsFailed
from gateway.transports.smtp_options import Options
from gateway.transports.smtp_reply import Broken
from gateway.transports.smtp_transaction import Unanswered, hand_over
from gateway.transports.submittable import unsendable

Route = Callable[[], Iterable[Target]]
"""The targets in the order in which to try them, asked anew for each opening; raises `NoRoute`."""


class SmtpConnection:
    """A `base.Connection` to whichever target of a route answers first."""

    def __init__(self, route: Route, options: Options) -> None:
        self._route = route
        self._options = options
        self._client: SmtpClient | None = None

    @property
    def is_open(self) -> bool:
        return self._client is not None

    @property
    def expired(self) -> bool:
        """Open, and idle for so long that it will not be used again."""
        return self._client is not None and self._client.idle > self._options.max_idle

    def send(self, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None]) -> Outcome:
        impossible = unsendable(mail_from, rcpt, message)
        if impossible is not None:
            return impossible
        if self._client is not None and not self._client.usable:
            self.close()
        kept = self._client is not None
        while True:
            client = self._client or self._open()
            if isinstance(client, Outcome):
                return client
            self._client = client
            try:
                outcome = hand_over(client, mail_from=mail_from, rcpt=rcpt, message=message, on_data=on_data)
            except Unanswered as error:
                self._client = None
                if not kept:
                    return client.failure(error.broken)
                kept = False  # it died while idle: nothing of the message was sent, once more on a new one
                continue
            except BaseException:
                self._client = None
                raise
            if client.sock is None:
                self._client = None
            return outcome

    def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            client.leave()

    def _open(self) -> SmtpClient | Outcome:
        """A client ready for its first message, or the outcome of the attempt that tells most."""
        dialogue = Dialogue()
        best: Outcome | None = None
        try:
            for target in self._route():
                tried = self._try(target, dialogue)
                if isinstance(tried, SmtpClient):
                    return tried
                dialogue.resume(tried.dialogue)
                # What a server said tells more than that another was not reached.
                if best is None or tried.code is not None or best.code is None:
                    best = tried
        except NoRoute as nowhere:
            return nowhere.outcome
        if best is None:
            raise LookupError("a route has a target or raises NoRoute")
        return replace(best, dialogue=dialogue.take())

    def _try(self, target: Target, dialogue: Dialogue) -> SmtpClient | Outcome:
        client = SmtpClient(target, self._options, dialogue)
        try:
            client.establish()
        except TlsFailed as error:
            if self._options.tls != "opportunistic":
                return client.failure(error)
            # RFC 7435 §3: clear text is no worse than what a server without TLS gets.
            client = SmtpClient(target, self._options, dialogue)
            try:
                client.establish(clear=True)
            except Broken as again:
                return client.failure(again)
        except Broken as error:
            return client.failure(error)
        return client
