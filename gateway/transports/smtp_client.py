"""One SMTP connection from its greeting to its end (RFC 5321 §3.1, 3207, 4954)."""

from __future__ import annotations

import base64
import contextlib
import errno
import select
import smtplib
import socket
import ssl
import time
from dataclasses import replace
from typing import Any

from gateway.mail import classify
from gateway.transports.destination import Target, is_public
from gateway.transports.dialogue import Dialogue
from gateway.transports.handshake import Proof, shake
from gateway.transports.outcome import Outcome, Result
from gateway.transports.smtp_options import Options
from gateway.transports.smtp_reply import Broken, Reader, Reply, reason
from gateway.transports.tls import Guard

_TCP_STEP = 262_144
_TLS_STEP = 16_384  # one record: how much of several went out before an error cannot be known
_LONGEST_TEXT = 2000
_NO_EHLO = frozenset({500, 502, 504})


class SmtpClient(smtplib.SMTP):
    """A connection to one target: `establish` it, then hand messages over (`smtp_transaction`) while it is `usable`.

    What smtplib offers for sending is not used: it waits for each reply and trusts its input.
    A 5xx to the banner, EHLO, STARTTLS or AUTH defers: it speaks of the connection, not of the message.
    """

    def __init__(self, target: Target, options: Options, dialogue: Dialogue, *, tls_required: bool = False) -> None:
        super().__init__(local_hostname=(target.source and target.source.hostname) or options.hostname)
        self.target = target
        self.guard = _guard(target, options, tls_required)
        self.skipped: tuple[str, ...] = ()  # exchangers passed over on the way here, each with the reason
        self.greeted = False
        self.proof = Proof()
        self._verdicts: tuple[dict[str, Any], ...] | None = None
        self.options = options
        self.dialogue = dialogue
        self.tls = ""  # the protocol's name once there is one
        self.transactions = 0
        self.unfinished = False  # a refused transaction waits for its RSET
        self._awaited = ""
        self._used_at = time.monotonic()
        self._reader: Reader | None = None

    # -- life

    def establish(self, *, clear: str = "") -> None:
        """Connect, greet, encrypt and log in; `clear` says why STARTTLS is left out.

        Raises `Broken` with the socket closed.
        """
        limits = self.options.timeouts
        self.proof.result = clear
        try:
            self._dial()
            if self.options.tls == "implicit":
                self._wrap()
            banner = self.reply("the connection", limits.greeting)
            self.greeted = True
            if banner.code != 220:
                raise self.refused(banner)
            self._greet()
            if not clear and not self.tls and (self.options.tls != "off" or self.guard.required):
                self._encrypt()
            if self.options.user:
                self._log_in()
        except Broken:
            self.close()
            raise
        self.used()

    @property
    def usable(self) -> bool:
        """Whether the next message may go here: not used up, not idle for too long, nothing unasked received."""
        if self.sock is None or self.pending or self.transactions >= self.options.max_messages:
            return False
        return self.idle <= self.options.max_idle and not self._spoken_to(self.sock)

    @property
    def idle(self) -> float:
        """Seconds since it was used."""
        return time.monotonic() - self._used_at

    @property
    def pending(self) -> bool:
        """The server said more than it was asked."""
        return self._reader is not None and bool(self._reader.pending)

    def used(self) -> None:
        """Idle time counts from now."""
        self._used_at = time.monotonic()

    def leave(self) -> None:
        """QUIT and close; never raises."""
        with contextlib.suppress(Broken):
            self.write(b"QUIT\r\n")
            self.reply("QUIT", self.options.timeouts.quit)
        self.close()

    def close(self) -> None:
        """Drop the connection; never raises."""
        self._reader = None
        with contextlib.suppress(OSError):
            super().close()

    def _spoken_to(self, sock: socket.socket) -> bool:
        """An end of file or a 421 that came while idle."""
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        if not poll.poll(0):
            return False
        if isinstance(sock, ssl.SSLSocket):
            sock.settimeout(0)
            try:
                sock.recv(1)
            except ssl.SSLWantReadError:
                return False  # a session ticket, nothing that was said
            except OSError:
                return True
        return True

    # -- opening

    def _dial(self) -> None:
        source = self.target.source
        self.dialogue.note(f"connecting to {self.target}" + (f" from {source.address}" if source else ""))
        try:
            sock = socket.create_connection(
                (self.target.address, self.target.port),
                self.options.timeouts.connect,
                (source.address, 0) if source else None,
            )
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            if source and error.errno == errno.EADDRNOTAVAIL:
                why = f"COMMANDPOST_SOURCE_ADDRESSES: {source.address} is no address of this host"
                raise self.broken(why, "ours") from None
            broken = self.broken(f"no connection to {self.target}: {reason(error).lower()}")
            broken.timed_out, broken.errno = isinstance(error, TimeoutError), error.errno
            raise broken from None
        self.sock = sock
        self._reader = Reader(sock)

    def _greet(self) -> None:
        code, text = self.ehlo()
        if code in _NO_EHLO:
            code, text = self.helo()  # RFC 5321 §3.2: a server from before 1995
        if code != 250:
            raise self.refused(Reply(code, text.decode()))

    def _encrypt(self) -> None:
        required = self.guard.required
        if not self.has_extn("starttls"):
            self.proof.result = "not offered"
            if required:
                raise self.broken(f"{self.guard.demand} and the server does not offer it", "policy")
            return
        code, text = self.docmd("STARTTLS")
        if code != 220:
            self.proof.result = f"STARTTLS was answered with {code}"
            if required or code == 421 or code < 400:
                raise self.refused(Reply(code, text.decode()))
            return
        if self.pending:
            # Whoever sits in between may have put it there (RFC 3207 §6).
            raise self.broken("the server said more before TLS began", "protocol")
        self._wrap()
        self.esmtp_features = {}  # RFC 3207 §4.2: what was learned before is forgotten
        self._greet()

    def _wrap(self) -> None:
        sock, _ = self._wire()
        limit = self.options.timeouts.greeting
        wrapped = shake(sock, self.target.host, self.guard, limit, proof=self.proof, dialogue=self.dialogue)
        self.sock = wrapped
        self.tls = wrapped.version() or "TLS"
        self._reader = Reader(wrapped)

    def _log_in(self) -> None:
        user, password = self.options.user.encode(), self.options.password.encode()
        if not self.tls and is_public(self.target.address):
            raise self.broken("there is no TLS, and the password is not sent in the clear", "ours")
        mechanisms = str(self.esmtp_features.get("auth", "")).upper().split()
        if "PLAIN" in mechanisms:
            plain = b"\0" + user + b"\0" + password
            reply = self._secret("AUTH PLAIN ", plain)
            if reply.code == 334:  # a server that overlooks the initial response
                reply = self._secret("", plain)
        elif "LOGIN" in mechanisms:
            self.putcmd("AUTH", "LOGIN")
            reply = self.reply("AUTH", self.options.timeouts.greeting)
            for answer in (user, password):
                if reply.code == 334:
                    reply = self._secret("", answer)
        else:
            raise self.broken("the server offers neither AUTH PLAIN nor AUTH LOGIN", "ours")
        if reply.code != 235:
            raise self.refused(reply, "ours")

    def _secret(self, command: str, secret: bytes) -> Reply:
        self.dialogue.client(f"{command}(secret)")
        self.write(command.encode() + base64.b64encode(secret) + b"\r\n")
        return self.reply("AUTH", self.options.timeouts.greeting)

    # -- the wire

    def write(self, raw: bytes) -> None:
        """Send commands; raises `Broken`, also when the server spoke out of turn."""
        sock, reader = self._wire()
        if reader.pending:
            raise self.broken("the server said something that nothing asked for", "protocol")
        try:
            sock.settimeout(self.options.timeouts.command)
            sock.sendall(raw)
        except OSError as error:
            raise self.broken(f"connection lost: {reason(error)}") from None

    def push(self, payload: bytes, tail: int) -> tuple[str, bool]:
        """Send message data; why it was cut short (empty when it was not), and whether any of its last `tail` bytes
        may have left."""
        sock, _ = self._wire()
        limits = self.options.timeouts
        step = _TLS_STEP if self.tls else _TCP_STEP
        deadline = time.monotonic() + limits.block + len(payload) / limits.slowest
        view, sent = memoryview(payload), 0
        while sent < len(payload):
            part = view[sent : sent + step]
            try:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                sock.settimeout(min(left, limits.block))
                sent += sock.send(part)
            except OSError as error:
                why = f"connection lost after {sent} of {len(payload)} bytes of the message: {reason(error)}"
                self.dialogue.note(why)
                return why, (sent + len(part) if self.tls else sent) > len(payload) - tail
        return "", True

    def reply(self, awaited: str, seconds: float) -> Reply:
        """The server's reply to what `awaited` names, within `seconds`; raises `Broken`."""
        _, reader = self._wire()
        try:
            reply = reader.read(seconds, awaited)
        except Broken as error:
            self.dialogue.note(error.why)
            raise
        self.dialogue.server(reply.code, reply.text)
        return reply

    def _wire(self) -> tuple[socket.socket, Reader]:
        if self.sock is None or self._reader is None:
            raise self.broken("not connected")
        return self.sock, self._reader

    # What the inherited ehlo, helo and docmd stand on.

    def putcmd(self, cmd: str, args: str = "") -> None:
        self._awaited = cmd.upper()
        self.dialogue.client(f"{self._awaited} {args}".rstrip())
        super().putcmd(self._awaited, args)

    def send(self, s: Any) -> None:
        self.write(s.encode("ascii") if isinstance(s, str) else bytes(s))

    def getreply(self) -> tuple[int, bytes]:
        reply = self.reply(self._awaited, self.options.timeouts.greeting)
        return reply.code, reply.text.encode()

    # -- what became of it

    def outcome(
        self, result: Result, reply: Reply | None = None, *, why: str = "", category: str = "", enhanced: str = ""
    ) -> Outcome:
        """An outcome with the target, TLS and the dialogue since the last one."""
        return Outcome(
            result,
            reply.code if reply else None,
            reply.enhanced if reply else enhanced,
            (why or (reply.text if reply else ""))[:_LONGEST_TEXT],
            category,
            str(self.target),
            self.tls,
            self.dialogue.take(),
            classify.retry_after(reply.text) if reply and result is Result.DEFERRED else None,
            self.verdicts,
        )

    @property
    def verdicts(self) -> tuple[dict[str, Any], ...]:
        """What was decided about this connection: its route, TLS and source; the same for all its messages."""
        if self._verdicts is not None:
            return self._verdicts
        route: dict[str, Any] = {"gate": "route", "host": self.target.host}
        if self.skipped:
            route["skipped"] = list(self.skipped)
        found = [route, self.proof.verdict(self.guard, self.tls)]
        if self.target.source:
            found.append({"gate": "source", "address": self.target.source.address, "ehlo": self.local_hostname})
        if self.greeted:
            self._verdicts = tuple(found)
        return tuple(found)

    def failure(self, error: Broken) -> Outcome:
        """The outcome of a connection that broke before any byte of the message left."""
        return self.outcome(Result.DEFERRED, error.reply, why=error.why, category=error.category)

    def refused(self, reply: Reply, category: str = "") -> Broken:
        """The server does not want this connection, now or ever."""
        if reply.kind < 4:
            return Broken(f"{reply.code} is no reply to that", "protocol", reply)
        return Broken(reply.text or f"refused with {reply.code}", category or meaning(reply), reply)

    def broken(self, why: str, category: str = "network") -> Broken:
        self.dialogue.note(why)
        return Broken(why, category)


def _guard(target: Target, options: Options, tls_required: bool) -> Guard:
    """The target's own demand, or that of the options or of the message where it has none."""
    if not target.guard.required and (tls_required or options.tls in ("required", "implicit")):
        return replace(target.guard, policy="required", required=True)
    return target.guard


def meaning(reply: Reply) -> str:
    """The category of a refusal."""
    return classify.category(reply.code, reply.enhanced, reply.text)
