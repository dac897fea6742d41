"""A connection that outlives its sockets: opened on first use, kept between messages, replaced when it died."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from gateway.transports.destination import NoRoute, Skipped, Target
from gateway.transports.dialogue import Dialogue
from gateway.transports.handshake import TlsFailed
from gateway.transports.outcome import Outcome, Result
from gateway.transports.reach import Reach
from gateway.transports.smtp_client import SmtpClient
from gateway.transports.smtp_options import Options, Timeouts
from gateway.transports.smtp_reply import Broken
from gateway.transports.smtp_transaction import Unanswered, hand_over
from gateway.transports.submittable import unsendable

Route = Callable[[], Iterable[Target | Skipped]]
"""The targets in the order in which to try them, asked anew for each opening; raises `NoRoute`."""

_SKIPPED = 5  # exchangers passed over that a verdict names
_REASON = 120  # characters of each reason
_CHECKED = 2  # addresses that a check tries
_HASTY = Timeouts(connect=8, greeting=8, command=8, data=8, end=8)


class SmtpConnection:
    """A `base.Connection` to whichever target of a route answers first; `reach` learns which did not."""

    def __init__(self, route: Route, options: Options, reach: Reach | None = None) -> None:
        self._route = route
        self._options = options
        self._reach = reach
        self._client: SmtpClient | None = None

    @property
    def is_open(self) -> bool:
        return self._client is not None

    @property
    def expired(self) -> bool:
        """Open, and idle for so long that it will not be used again."""
        return self._client is not None and self._client.idle > self._options.max_idle

    def send(
        self, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None], tls_required: bool = False
    ) -> Outcome:
        impossible = unsendable(mail_from, rcpt, message)
        if impossible is not None:
            return impossible
        if self._client is not None and (not self._client.usable or (tls_required and not self._client.tls)):
            self.close()
        kept = self._client is not None
        busy: dict[str, Outcome] = {}  # what addresses that answered 421 said
        while True:
            client = self._client or self._open(tls_required, busy)
            if isinstance(client, Outcome):
                return client
            self._client = client
            try:
                outcome = hand_over(client, mail_from=mail_from, rcpt=rcpt, message=message, on_data=on_data)
            except Unanswered as error:
                self._client = None
                if kept:
                    kept = False  # it died while idle: nothing of the message was sent, once more on a new one
                    continue
                outcome = client.failure(error.broken)
            except BaseException:
                self._client = None
                raise
            if client.sock is None:
                self._client = None
            if outcome.code != 421 or outcome.result is not Result.DEFERRED:
                return outcome
            # RFC 5321 §3.8: the host goes down, or has enough of us; another may take it.
            kept = False
            busy[client.target.address] = outcome

    def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            client.leave()

    def _open(self, tls_required: bool, busy: dict[str, Outcome]) -> SmtpClient | Outcome:
        """A client ready for its first message, or the outcome of the attempt that tells most.

        What is in `busy` is not dialled again, and tells more than what could not be reached.
        """
        dialogue = Dialogue()
        best: Outcome | None = None
        for told in reversed(busy.values()):
            best = best or told
            dialogue.resume(told.dialogue)
        skipped: list[str] = [_skip(outcome.remote, outcome.reply) for outcome in busy.values()]
        try:
            for target in self._route():
                if isinstance(target, Skipped):
                    dialogue.note(f"{target.host} is passed over: {target.why}")
                    skipped.append(_skip(target.host, target.why))
                    continue
                if target.address in busy:
                    continue
                tried = self._try(target, dialogue, tls_required)
                if isinstance(tried, SmtpClient):
                    tried.skipped = tuple(skipped[:_SKIPPED])
                    return tried
                dialogue.resume(tried.dialogue)
                skipped.append(_skip(str(target), tried.reply))
                # What a server said tells more than that another was not reached.
                if best is None or tried.code is not None or best.code is None:
                    best = tried
        except NoRoute as nowhere:
            if best is None:
                return replace(nowhere.outcome, verdicts=_nowhere(skipped))
        if best is None:
            raise LookupError("a route has a target or raises NoRoute")
        return replace(best, dialogue=dialogue.take(), verdicts=_all_tried(best, skipped))

    def _try(self, target: Target, dialogue: Dialogue, tls_required: bool) -> SmtpClient | Outcome:
        client = SmtpClient(target, self._options, dialogue, tls_required=tls_required)
        try:
            try:
                client.establish()
            except TlsFailed as error:
                if client.guard.required or self._options.tls == "implicit":
                    raise
                # RFC 7435 §3: clear text is no worse than what a server without TLS gets.
                client = SmtpClient(target, self._options, dialogue)
                client.establish(clear=f"clear text, for {error.why}")
        except Broken as error:
            self._learn(client, error)
            return client.failure(error)
        self._learn(client)
        return client

    def _learn(self, client: SmtpClient, error: Broken | None = None) -> None:
        if self._reach is None:
            return
        if client.greeted or error is None:
            self._reach.answered(client.target.address)
        else:
            self._reach.failed(client.target.address, error.why, timed_out=error.timed_out, errno_=error.errno)


def check(route: Route, options: Options) -> Outcome:
    """Connect, greet, encrypt and log in as for a message, and leave; DELIVERED: a message would be taken.

    Whoever asks waits, so each step has a few seconds, and only the first addresses are tried.
    """
    hasty = replace(options, timeouts=_HASTY)
    client = SmtpConnection(lambda: itertools.islice(route(), _CHECKED), hasty)._open(False, {})
    if isinstance(client, Outcome):
        return client
    said = "the server answers and takes our login" if options.user else "the server answers"
    outcome = client.outcome(Result.DELIVERED, why=said)
    client.leave()
    return outcome


def _skip(host: str, why: str) -> str:
    return f"{host}: {why}"[:_REASON]


def _nowhere(skipped: list[str]) -> tuple[dict[str, Any], ...]:
    route: dict[str, Any] = {"gate": "route", "host": None}
    return ({**route, "skipped": skipped[:_SKIPPED]} if skipped else route,)


def _all_tried(best: Outcome, skipped: list[str]) -> tuple[dict[str, Any], ...]:
    """The verdicts of the attempt that tells most, with what came of the others."""
    others = [text for text in skipped if not text.startswith(f"{best.remote}:")]
    route, *rest = best.verdicts or ({"gate": "route"},)
    return ({**route, "skipped": others[:_SKIPPED]} if others else route, *rest)
