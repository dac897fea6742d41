"""Replies of an SMTP server, read within bounds of time and size (RFC 5321 §4.2)."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass

MAX_LINE = 8192
MAX_LINES = 100

_SHAPE = re.compile(rb"[2-5][0-9][0-9](?:[ -]|\Z)")
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?!\S)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Reply:
    """`text` is without the code; the lines of a long one are parted by newlines."""

    code: int
    text: str

    @property
    def kind(self) -> int:
        """The first digit: 2 done, 3 go on, 4 not now, 5 no."""
        return self.code // 100

    @property
    def enhanced(self) -> str:
        """RFC 2034 §4: at the start of the text and of the code's own class, else empty."""
        found = _ENHANCED.match(self.text)
        return found[1] if found and found[1][0] == str(self.kind) else ""


class Broken(Exception):
    """The connection is of no more use; `category` is that of an outcome, `reply` what the server said if it did."""

    timed_out = False  # it cost a whole time-out
    errno: int | None = None

    def __init__(self, why: str, category: str = "network", reply: Reply | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.category = category
        self.reply = reply


def reason(error: Exception) -> str:
    """The error in words that do not change from run to run."""
    if isinstance(error, TimeoutError):
        return "timed out"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class Reader:
    """Reads replies from a socket; what came beyond the last reply waits in `pending`."""

    def __init__(self, sock: socket.socket) -> None:
        self.pending = b""
        self._sock = sock

    def read(self, seconds: float, awaited: str) -> Reply:
        """The next whole reply; `awaited` names what it answers. Raises `Broken`.

        `seconds` count for the whole reply, so that a server that drips bytes holds nobody for longer.
        """
        deadline = time.monotonic() + seconds  # a duration, not a time of day: the clock may be set meanwhile
        lines = []
        while True:
            line = self._line(deadline, seconds, awaited)
            if not _SHAPE.match(line):
                raise Broken(f"no SMTP reply to {awaited}: {line[:80]!r}", "protocol")
            lines.append(line[4:])
            if line[3:4] != b"-":
                break
            if len(lines) >= MAX_LINES:
                raise Broken(f"the reply to {awaited} has more than {MAX_LINES} lines", "protocol")
        text = (lines[0] if len(lines) == 1 else b"\n".join(lines)).decode("utf-8", "replace")
        return Reply(int(line[:3]), text if text.isprintable() else _CONTROLS.sub("?", text))

    def _line(self, deadline: float, seconds: float, awaited: str) -> bytes:
        while True:
            line, newline, rest = self.pending.partition(b"\n")
            if len(line) > MAX_LINE:
                raise Broken(f"the reply to {awaited} has a line of more than {MAX_LINE} bytes", "protocol")
            if newline:
                self.pending = rest
                return line.rstrip(b" \t\r")
            left = deadline - time.monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                self._sock.settimeout(left)
                chunk = self._sock.recv(4096)
            except TimeoutError:
                late = Broken(f"no reply to {awaited} within {seconds:g} s")
                late.timed_out = True
                raise late from None
            except OSError as error:
                raise Broken(f"connection lost before the reply to {awaited}: {reason(error)}") from None
            if not chunk:
                raise Broken(f"the server closed the connection before the reply to {awaited}")
            self.pending += chunk
