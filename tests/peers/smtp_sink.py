"""An SMTP server on loopback that keeps what it is sent, with scripted replies and misbehaviour."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self

from tests.peers.certificate import Certificate

PHASES = ("banner", "ehlo", "helo", "starttls", "auth", "mail", "rcpt", "data", "end", "rset", "noop", "quit")
_WHOLE_YES = re.compile(rb"(?:2\d\d-[^\n]*\n)*2\d\d(?: [^\n]*)?\n")
EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


@dataclass(frozen=True)
class Act:
    """After `pause` seconds write `raw`, then go on, or `end` the connection: `close`, `reset` or `hang`."""

    raw: bytes = b""
    end: str = ""
    pause: float = 0.0


HANG = Act(end="hang")
CLOSE = Act(end="close")
RESET = Act(end="reset")


def say(text: str, end: str = "", pause: float = 0.0) -> Act:
    """A reply; lines are parted by newlines. A 421 closes the connection (RFC 5321 §3.8)."""
    if text.startswith("421"):
        end = end or "close"
    return Act("".join(f"{line}\r\n" for line in text.split("\n")).encode(), end, pause)


@dataclass
class Transaction:
    """One MAIL to the end of DATA, as it came; `data` is after dot-unstuffing."""

    connection: int  # 1 is the first
    helo: str
    mail_from: str
    mail_parameters: str = ""  # as sent after the address
    rcpts: list[str] = field(default_factory=list)  # those answered with 2xx
    data: bytes = b""
    tls: str = ""
    user: str = ""
    pipelined: bool = False  # RCPT and DATA were there before MAIL was answered
    accepted: bool = False  # the end of DATA was answered with 2xx
    at: float = 0.0


class _Over(Exception):
    """The connection ends here."""


class SmtpSink:
    """Accepts everything unless scripted. `keep` False counts without keeping data (for benchmarks).

    `script(phase, *replies)` is used up one reply each; `always(phase, reply)` stays. `refuse(address, reply)` is
    for one recipient. A reply is a text such as "450 4.2.1 later" or an `Act`.
    """

    def __init__(
        self,
        *,
        extensions: Iterable[str] = EXTENSIONS,
        size: int | None = 50_000_000,
        tls: Certificate | None = None,
        implicit_tls: bool = False,
        tls_newest: ssl.TLSVersion | None = None,
        users: dict[str, str] | None = None,
        auth: str = "PLAIN LOGIN",
        keep: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.extensions = tuple(extensions)
        self.size = size
        self.context = tls.server_context(tls_newest) if tls else None
        self.implicit_tls = implicit_tls
        self.users = users or {}
        self.auth = auth
        self.keep = keep
        self.always_354 = False  # DATA is answered with 354 although there is no recipient
        self.host = host
        self.transactions: list[Transaction] = []  # every one whose data came whole
        self.commands: list[tuple[int, str]] = []  # (connection, line as sent), data left out
        self.violations: list[str] = []  # what a strict server would not stand
        self.connections = 0
        self.peers: list[str] = []  # whence each connection came
        self.count = 0  # accepted messages
        self._port = port
        self._scripts: dict[str, deque[Act]] = {}
        self._always: dict[str, Act] = {}
        self._changed = threading.Condition()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self.start()

    @property
    def port(self) -> int:
        return self._port

    @property
    def address(self) -> str:
        return f"{self.host}:{self._port}"

    @property
    def url(self) -> str:
        """`smtp://127.0.0.1:port`, as COMMANDPOST_DELIVERY wants it (`smtps://` with implicit TLS)."""
        return f"{'smtps' if self.implicit_tls else 'smtp'}://{self.address}"

    @property
    def open_connections(self) -> int:
        return len(self._open)

    @property
    def messages(self) -> list[Transaction]:
        """The accepted ones."""
        return [t for t in self.transactions if t.accepted]

    def script(self, phase: str, *replies: str | Act) -> None:
        with self._changed:
            self._scripts.setdefault(_phase(phase), deque()).extend(_act(reply) for reply in replies)

    def always(self, phase: str, reply: str | Act) -> None:
        self._always[_phase(phase)] = _act(reply)

    def refuse(self, address: str, *replies: str | Act, always: bool = True) -> None:
        """Answer RCPT TO this address so: the last reply stays unless `always` is False."""
        with self._changed:
            first = replies[:-1] if always else replies
            self._scripts.setdefault(f"rcpt {address.lower()}", deque()).extend(_act(reply) for reply in first)
            if always:
                self._always[f"rcpt {address.lower()}"] = _act(replies[-1])

    def behave(self) -> None:
        """Forget all scripts."""
        with self._changed:
            self._scripts.clear()
            self._always.clear()

    def wait_for(self, n: int, timeout: float = 10.0) -> list[Transaction]:
        """The accepted transactions once there are `n`; AssertionError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.count >= n, timeout):
                raise AssertionError(f"{self.count} of {n} messages arrived in {timeout} s")
            return self.messages

    def wait_for_transactions(self, n: int, timeout: float = 10.0) -> list[Transaction]:
        """As `wait_for`, but those whose data came and was refused or never answered count too."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.transactions) >= n, timeout):
                raise AssertionError(f"{len(self.transactions)} of {n} transactions arrived in {timeout} s")
            return list(self.transactions)

    def start(self) -> None:
        """Listen (again, on the same port, after `stop`)."""
        self._closing = threading.Event()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self._port), family=family, backlog=128)
        self._port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener, self._closing), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and drop all connections, as a server that goes down."""
        self._closing.set()
        if self._listener is not None:
            # shutdown wakes the accept(): close alone leaves the port listening until it returns.
            _quietly(self._listener.shutdown, socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.drop()

    def drop(self) -> None:
        """Drop all open connections, as a server that is tired of idle ones."""
        with self._changed:
            for sock in self._open:
                _quietly(sock.shutdown, socket.SHUT_RDWR)

    close = stop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def next_act(self, phase: str, address: str = "") -> Act | None:
        """The scripted reply for now, else None."""
        with self._changed:
            for key in (f"{phase} {address.lower()}", phase) if address else (phase,):
                if script := self._scripts.get(key):
                    return script.popleft()
                if act := self._always.get(key):
                    return act
        return None

    def replace(self, plain: socket.socket, wrapped: socket.socket) -> None:
        """The connection goes on as another socket object."""
        with self._changed:
            self._open.discard(plain)
            self._open.add(wrapped)

    def take(self, transaction: Transaction) -> None:
        with self._changed:
            if self.keep or not transaction.accepted:
                self.transactions.append(transaction)
            self.count += transaction.accepted
            self._changed.notify_all()

    def _accept(self, listener: socket.socket, closing: threading.Event) -> None:
        while not closing.is_set():
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            with self._changed:
                self.connections += 1
                self.peers.append(peer[0])
                self._open.add(sock)
                number = self.connections
            threading.Thread(target=self._serve, args=(sock, number, closing), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int, closing: threading.Event) -> None:
        session = _Session(self, sock, number, closing)
        try:
            session.run()
        except (_Over, OSError):
            pass
        finally:
            with self._changed:
                self._open.discard(session.sock)
            _quietly(session.sock.close)


class _Session:
    def __init__(self, sink: SmtpSink, sock: socket.socket, number: int, closing: threading.Event) -> None:
        self.sink, self.sock, self.number, self.closing = sink, sock, number, closing
        self.buffer = bytearray()
        self.out = bytearray()
        self.helo = self.tls = self.user = ""
        self.transaction: Transaction | None = None

    def run(self) -> None:
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.sink.implicit_tls:
            self.wrap()
        self.reply("banner", "220 sink.test ESMTP")
        while True:
            raw = self.line()
            line = raw.decode("utf-8", "replace")
            verb, _, argument = line.partition(" ")
            if self.sink.keep:
                self.sink.commands.append((self.number, line))
                self.check(raw)
            handler = getattr(self, f"do_{verb.lower()}", None)
            if handler is None:
                self.write(say("500 5.5.2 unknown command"))
            else:
                handler(argument)

    def check(self, raw: bytes) -> None:
        verb = raw.upper()
        if self.buffer and (
            "PIPELINING" not in self.sink.extensions or not verb.startswith((b"MAIL", b"RCPT", b"RSET"))
        ):
            self.sink.violations.append(f"input before the reply to {raw!r}")
        if b"\r" in raw or b"\n" in raw:
            self.sink.violations.append(f"bare CR or LF in {raw!r}")
        if len(raw) > 510:
            self.sink.violations.append("command line over 512 octets")
        if (
            not raw.isascii()
            and b"SMTPUTF8" not in verb
            and not (self.transaction and "SMTPUTF8" in self.transaction.mail_parameters)
        ):
            self.sink.violations.append(f"8-bit command without SMTPUTF8: {raw!r}")

    # -- reading and writing

    def fill(self) -> None:
        if self.out:
            self.sock.sendall(self.out)
            self.out.clear()
        chunk = self.sock.recv(262144)
        if not chunk:
            raise _Over
        self.buffer += chunk

    def line(self) -> bytes:
        while (at := self.buffer.find(b"\r\n")) < 0:
            if len(self.buffer) > 65536:
                raise _Over
            self.fill()
        line = bytes(self.buffer[:at])
        del self.buffer[: at + 2]
        return line

    def body(self) -> bytes:
        """The message up to CRLF.CRLF, dots unstuffed (RFC 5321 §4.5.2)."""
        searched = 0
        while True:
            if self.buffer.startswith(b".\r\n"):
                del self.buffer[:3]
                return b""
            at = self.buffer.find(b"\r\n.\r\n", searched)
            if at >= 0:
                break
            searched = max(0, len(self.buffer) - 4)
            self.fill()
        data = bytes(self.buffer[: at + 2])
        del self.buffer[: at + 5]
        if data.startswith(b"."):
            data = data[1:]
        return data.replace(b"\r\n.", b"\r\n") if b"\r\n." in data else data

    def write(self, act: Act) -> None:
        if act.pause:
            self.closing.wait(act.pause)
        self.out += act.raw
        if not act.end:
            return
        if self.out:
            self.sock.sendall(self.out)
            self.out.clear()
        if act.end == "hang":
            self.closing.wait()
        elif act.end == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            # Half-close first: unread pipelined input would turn the close into a reset, which may eat the reply.
            _quietly(self.sock.shutdown, socket.SHUT_WR)
            self.sock.settimeout(0.5)
            while self.sock.recv(65536):
                pass
        raise _Over

    def reply(self, phase: str, default: str, address: str = "") -> bool:
        """Write the scripted or default reply; True when it is a 2xx or 3xx."""
        act = self.sink.next_act(phase, address) or say(default)
        self.write(act)
        return act.raw[:1] in (b"2", b"3")

    def wrap(self) -> None:
        assert self.sink.context is not None, "TLS needs a certificate"
        plain = self.sock
        self.sock = self.sink.context.wrap_socket(plain, server_side=True)
        self.sink.replace(plain, self.sock)
        self.tls = str(self.sock.version())

    # -- commands

    def do_ehlo(self, argument: str) -> None:
        lines = ["sink.test", *self.sink.extensions]
        if self.sink.size is not None:
            lines.append(f"SIZE {self.sink.size}")
        if self.sink.context is not None and not self.tls:
            lines.append("STARTTLS")
        if self.sink.users:
            lines.append(f"AUTH {self.sink.auth}")
        text = "\n".join(f"250{' ' if at == len(lines) - 1 else '-'}{line}" for at, line in enumerate(lines))
        if self.reply("ehlo", text):
            self.helo = argument
        self.transaction = None

    def do_helo(self, argument: str) -> None:
        if self.reply("helo", "250 sink.test"):
            self.helo = argument
        self.transaction = None

    def do_starttls(self, _: str) -> None:
        if self.reply("starttls", "220 2.0.0 go ahead"):
            if self.out:
                self.sock.sendall(self.out)
                self.out.clear()
            if self.buffer:
                self.sink.violations.append("input after STARTTLS")
                self.buffer.clear()
            self.wrap()
            self.helo = ""

    def do_auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        if mechanism.upper() == "PLAIN":
            _, user, password = base64.b64decode(initial or self.ask("")).decode().split("\0")
        else:
            user = base64.b64decode(initial or self.ask("Username:")).decode()
            password = base64.b64decode(self.ask("Password:")).decode()
        right = self.sink.users.get(user) == password
        if self.reply("auth", "235 2.7.0 welcome" if right else "535 5.7.8 wrong") and right:
            self.user = user

    def ask(self, prompt: str) -> bytes:
        self.write(say(f"334 {base64.b64encode(prompt.encode()).decode()}"))
        return self.line()

    def do_mail(self, argument: str) -> None:
        address, parameters = _path(argument)
        transaction = Transaction(self.number, self.helo, address, parameters, tls=self.tls, user=self.user)
        transaction.pipelined = b"\r\nDATA\r\n" in self.buffer
        if self.sink.users and not self.user:
            self.write(say("530 5.7.0 log in first"))
        elif not self.helo:
            self.write(say("503 5.5.1 say EHLO first"))
        elif self.reply("mail", "250 2.1.0 sender ok", address):
            self.transaction = transaction

    def do_rcpt(self, argument: str) -> None:
        address, _ = _path(argument)
        if self.transaction is None:
            self.write(say("503 5.5.1 MAIL first"))
        elif self.reply("rcpt", "250 2.1.5 recipient ok", address):
            self.transaction.rcpts.append(address)

    def do_data(self, _: str) -> None:
        transaction = self.transaction
        if transaction is None or not transaction.rcpts:
            if not self.sink.always_354:
                self.write(say("554 5.5.1 no valid recipients"))
                return
            transaction = transaction or Transaction(self.number, self.helo, "")
        if not self.reply("data", "354 go on"):
            return
        data = self.body()
        if self.sink.keep:
            transaction.data = data
            if b"\n" in data.replace(b"\r\n", b"") or b"\r" in data.replace(b"\r\n", b"") or b"\0" in data:
                self.sink.violations.append("bare CR, LF or NUL in a message")
        transaction.at = time.time()
        self.transaction = None
        default = say("250 2.0.0 taken" if transaction.rcpts else "554 5.5.1 no valid recipients")
        act = self.sink.next_act("end") or default
        transaction.accepted = _WHOLE_YES.match(act.raw) is not None
        self.sink.take(transaction)
        self.write(act)

    def do_rset(self, _: str) -> None:
        self.transaction = None
        self.reply("rset", "250 2.0.0 flushed")

    def do_noop(self, _: str) -> None:
        self.reply("noop", "250 2.0.0 ok")

    def do_quit(self, _: str) -> None:
        self.reply("quit", "221 2.0.0 bye")
        self.write(Act(end="close"))


def _phase(phase: str) -> str:
    if phase.partition(" ")[0] not in PHASES:
        raise ValueError(f"no such phase: {phase}")
    return phase


def _act(reply: str | Act) -> Act:
    return say(reply) if isinstance(reply, str) else reply


def _path(argument: str) -> tuple[str, str]:
    """The address between the angle brackets, what follows them."""
    address, _, parameters = argument.partition("<")[2].rpartition(">")
    return address, parameters.strip()


def _quietly(call: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(OSError):
        call(*arguments)
