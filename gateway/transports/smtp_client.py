"""One SMTP connection, spoken strictly and pipelined (RFC 5321, 2920, 1870, 6152, 6531, 3207, 4954)."""

from __future__ import annotations

import base64
import select
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.mail import classify
from gateway.transports.destination import Target
from gateway.transports.dialogue import Dialogue
from gateway.transports.outcome import Outcome, Result
from gateway.transports.smtp_reply import Broken, Reader, Reply, reason
from gateway.transports.submittable import stuffed
from gateway.transports.tls import client_context, describe

Tls = Literal["opportunistic", "required", "implicit", "off"]

_TCP_STEP = 262_144
_TLS_STEP = 16_384  # one record: what a failed write of several has sent cannot be known
_END = len(b".\r\n")
_NO_HELO_FALLBACK = 5
_OUR_FAULT = frozenset({503, 530, 538})
"""5xx that speak of the session (wrong order, TLS or login wanted), not of the message: deferred."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds; each is for one whole reply, `block` for one write of message data."""

    connect: float = 30
    greeting: float = 60  # banner, EHLO, STARTTLS, AUTH
    command: float = 60  # MAIL, RCPT, RSET
    data: float = 60
    block: float = 180
    end: float = 300  # the reply to the message
    quit: float = 2
    slowest: int = 16_384  # bytes a second that a reader of a long message has to keep up


@dataclass(frozen=True)
class Options:
    """How to speak; one for all connections of a transport."""

    hostname: str  # what EHLO says
    tls: Tls = "opportunistic"
    user: str = ""
    password: str = field(default="", repr=False)
    timeouts: Timeouts = Timeouts()
    max_messages: int = 100  # on one connection
    max_idle: float = 10  # seconds before an idle connection is replaced


class TlsFailed(Broken):
    """The handshake failed: without TLS it may work."""


class SmtpClient(smtplib.SMTP):
    """Speaks to one target. `establish` first, then `transact` while `usable`; the inherited sending methods are not used.

    A 5xx to the banner, EHLO, STARTTLS or AUTH defers: it speaks of the connection, not of the message.
    """

    def __init__(self, target: Target, options: Options, dialogue: Dialogue) -> None:
        super().__init__(local_hostname=options.hostname)
        self.target = target
        self.options = options
        self.dialogue = dialogue
        self.tls = ""  # the protocol's name once there is one
        self.transactions = 0
        self.answered = False  # a reply to the running transaction has come
        self._awaited = ""
        self._seconds = options.timeouts.greeting
        self._unfinished = False  # a refused transaction waits for its RSET
        self._used_at = time.monotonic()
        self._reader: Reader | None = None

    # -- the connection

    def establish(self, *, clear: bool = False) -> None:
        """Connect, greet, encrypt and log in; `clear` leaves STARTTLS out. Raises `Broken` with the socket closed."""
        try:
            self._dial()
            if self.options.tls == "implicit":
                self._wrap()
            banner = self._reply("the connection", self.options.timeouts.greeting)
            if banner.code != 220:
                raise self._refused(banner)
            self._greet()
            if not clear and not self.tls and self.options.tls != "off":
                self._encrypt()
            if self.options.user:
                self._log_in()
        except Broken:
            self.close()
            raise
        self._used_at = time.monotonic()

    @property
    def usable(self) -> bool:
        """Whether the next message may go here: not used up, not idle for too long, nothing unasked received."""
        if self.sock is None or self._reader is None or self._reader.pending:
            return False
        if self.transactions >= self.options.max_messages:
            return False
        idle = time.monotonic() - self._used_at
        return idle <= self.options.max_idle and (idle < 0.05 or not self._spoken_to())

    def leave(self) -> None:
        """QUIT and close; never raises."""
        try:
            if self.sock is not None:
                self._seconds = self.options.timeouts.quit
                self._write(b"QUIT\r\n")
                self._reply("QUIT", self.options.timeouts.quit)
        except Broken:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Drop the connection; never raises."""
        try:
            super().close()
        except OSError:
            self.sock = None
        self._reader = None

    def _spoken_to(self) -> bool:
        """An end of file or a 421 that came while idle."""
        assert self.sock is not None
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if not poll.poll(0):
            return False
        if not self.tls:
            return True
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)
        except ssl.SSLWantReadError:
            return False  # a session ticket, not for us
        except OSError:
            pass
        return True

    def _dial(self) -> None:
        self.dialogue.note(f"connecting to {self.target}")
        try:
            self.sock = socket.create_connection((self.target.address, self.target.port), self.options.timeouts.connect)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise self._broken(f"no connection to {self.target}: {reason(error).lower()}") from None
        self._reader = Reader(self.sock)

    def _greet(self) -> None:
        code, text = self.ehlo()
        if code != 250:
            reply = Reply(code, text.decode())
            if reply.kind != _NO_HELO_FALLBACK or code not in (500, 502, 504):
                raise self._refused(reply)
            code, text = self.helo()  # RFC 5321 §3.2: a server of before 1995
            if code != 250:
                raise self._refused(Reply(code, text.decode()))

    def _encrypt(self) -> None:
        wanted = self.options.tls == "required"
        if not self.has_extn("starttls"):
            if wanted:
                raise self._broken("TLS is required and the server does not offer it", "policy")
            return
        code, text = self.docmd("STARTTLS")
        if code != 220:
            if wanted or code == 421:
                raise self._refused(Reply(code, text.decode()))
            return
        assert self._reader is not None
        if self._reader.pending:
            raise self._broken("the server said more before TLS began", "protocol")
        self._wrap()
        # RFC 3207 §4.2: what was learned before is forgotten.
        self.esmtp_features = {}
        self._greet()

    def _wrap(self) -> None:
        assert self.sock is not None
        try:
            self.sock.settimeout(self.options.timeouts.greeting)
            wrapped = client_context().wrap_socket(self.sock, server_hostname=self.target.host)
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            self.dialogue.note(f"TLS failed: {why}")
            raise TlsFailed(f"TLS failed: {why}") from None
        self.sock = wrapped
        self.tls = wrapped.version() or "TLS"
        self._reader = Reader(wrapped)
        self.dialogue.note(describe(wrapped))

    def _log_in(self) -> None:
        user, password = self.options.user.encode(), self.options.password.encode()
        if not self.tls and self.target.public:
            raise self._broken("the server offers no TLS, and the password is not sent in the clear", "ours")
        mechanisms = str(self.esmtp_features.get("auth", "")).upper().split()
        if "PLAIN" in mechanisms:
            reply = self._secret("AUTH PLAIN ", b"\0" + user + b"\0" + password)
            if reply.code == 334:  # a server that overlooks the initial response
                reply = self._secret("", b"\0" + user + b"\0" + password)
        elif "LOGIN" in mechanisms:
            self.putcmd("AUTH", "LOGIN")
            reply = self._reply("AUTH", self.options.timeouts.greeting)
            for answer in (user, password):
                if reply.code == 334:
                    reply = self._secret("", answer)
        else:
            raise self._broken("the server offers neither AUTH PLAIN nor AUTH LOGIN", "ours")
        if reply.code != 235:
            raise self._refused(reply, "ours")

    def _secret(self, command: str, secret: bytes) -> Reply:
        self.dialogue.client(f"{command}(secret)")
        self._write(command.encode() + base64.b64encode(secret) + b"\r\n")
        return self._reply("AUTH", self.options.timeouts.greeting)

    # -- one message

    def transact(self, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None]) -> Outcome:
        """Hand over one message that `submittable.unsendable` let pass.

        Raises `Broken` only when no reply to this transaction came, so that it may be tried on a new connection.
        """
        self.answered = False
        parameters = self._parameters(mail_from, rcpt, message)
        if isinstance(parameters, Outcome):
            return parameters
        self.transactions += 1
        try:
            refusal = self._envelope(mail_from, rcpt, parameters)
        except Broken as error:
            self.close()
            if not self.answered:
                raise
            return self.failure(error)
        if refusal is not None:
            return self._judged(refusal)
        try:
            on_data()
        except BaseException:
            self.close()
            raise
        outcome = self._content(message)
        self._used_at = time.monotonic()
        return outcome

    def failure(self, error: Broken) -> Outcome:
        """The outcome of a broken connection before any byte of the message left."""
        return self._outcome(Result.DEFERRED, error.reply, error.why, error.category)

    def _parameters(self, mail_from: str, rcpt: str, message: bytes) -> str | Outcome:
        """What follows MAIL FROM, or why this server cannot take the message."""
        parameters = ""
        if self.has_extn("size"):
            limit = str(self.esmtp_features["size"]).strip()
            # RFC 1870 §4: absent or 0 is no limit that was told.
            if limit.isdecimal() and 0 < int(limit) < len(message):
                why = f"the message has {len(message)} bytes, the server takes {limit}"
                return self._outcome(Result.BOUNCED, None, why, "policy", enhanced="5.3.4")
            parameters = f" SIZE={len(message)}"
        unicode = not (mail_from.isascii() and rcpt.isascii())
        if unicode:
            if not self.has_extn("smtputf8"):
                why = "the address needs SMTPUTF8, which the server does not offer"
                return self._outcome(Result.BOUNCED, None, why, "recipient", enhanced="5.6.7")
            parameters += " SMTPUTF8"
        if unicode or not message.isascii():
            if self.has_extn("8bitmime"):
                parameters += " BODY=8BITMIME"
            elif not message.isascii():
                why = "the message has 8-bit lines, which the server does not take"
                return self._outcome(Result.BOUNCED, None, why, "content", enhanced="5.6.3")
        return parameters

    def _envelope(self, mail_from: str, rcpt: str, parameters: str) -> Reply | None:
        """MAIL, RCPT and DATA; None when the server wants the message now, else the reply that refused it."""
        limits = self.options.timeouts
        commands = [f"MAIL FROM:<{mail_from}>{parameters}", f"RCPT TO:<{rcpt}>", "DATA"]
        if self._unfinished:
            commands.insert(0, "RSET")
            self._unfinished = False
        pipelined = self.has_extn("pipelining")
        if pipelined:
            self._write(("\r\n".join(commands) + "\r\n").encode())
        refusal: Reply | None = None
        refused_verb = ""
        reply = None
        for command in commands:
            verb = command[:4]
            self.dialogue.client(command)
            if not pipelined:
                self._write(f"{command}\r\n".encode())
            reply = self._reply(verb, limits.data if verb == "DATA" else limits.command)
            self.answered = True
            if reply.code == 421:
                raise self._refused(reply)
            expected = 3 if verb == "DATA" else 2
            if reply.kind in (4, 5) and verb != "RSET":
                if refusal is None:
                    refusal, refused_verb = reply, verb
                if not pipelined:
                    break
            elif reply.kind != expected:
                raise Broken(f"{reply.code} is no reply to {verb}", "protocol", reply)
        if refusal is not None:
            self._unfinished = True
            if reply is not None and reply.kind == 3:
                self._take_back(refused_verb)
            if refusal.code == 503:
                self.close()  # the two sides do not agree on where they are
            return refusal
        assert self._reader is not None
        if self._reader.pending:
            raise Broken("the server replied to the message before it was sent", "protocol")
        return None

    def _take_back(self, refused_verb: str) -> None:
        """The server waits for data although it refused: give it none (RFC 2920 §3.1)."""
        if refused_verb != "RCPT":
            self.close()  # it may have a recipient: an empty message must not reach them
            return
        try:
            self._write(b".\r\n")
            self._reply("the empty message", self.options.timeouts.command)
        except Broken:
            self.close()

    def _content(self, message: bytes) -> Outcome:
        self.dialogue.client(f"(message of {len(message)} bytes)")
        payload = stuffed(message)
        doubt = False
        try:
            doubt = self._transfer(payload)
            reply = self._reply("the message", self.options.timeouts.end if not doubt else 1)
        except Broken as error:
            self.close()
            result = Result.IN_DOUBT if self._ended else Result.DEFERRED
            return self._outcome(result, error.reply, error.why, error.category)
        return self._judged(reply)
