"""What SpamAssassin says of a message, where the operator runs its spamd: asked by its protocol, never a failure."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway import clock, config, ids
from gateway.config import Address
from gateway.mail import compose
from gateway.mail.draft import Mailbox

LARGEST = 512 * 1024
"""Bytes of a message that is asked about: spamd looks at larger ones for long, and its own client does not ask."""
PATIENCE_S = 8.0
"""Seconds that a question may take as a whole."""

OK, UNAVAILABLE, TOO_LARGE = "ok", "unavailable", "too_large"
AT_ONCE = 4
"""Questions of one process at one time: a slow spamd must not take all threads that answer requests."""

_CONNECT_S, _WAIT_S = 2.0, 1.0
_ANSWER_MOST = 256 * 1024
_SUBJECT_MOST = 2000
_VERDICT = re.compile(
    rb"^Spam:\s*\w+\s*;\s*(-?\d+(?:\.\d+)?)\s*/\s*(-?\d+(?:\.\d+)?)\s*$", re.IGNORECASE | re.MULTILINE
)
_LENGTH = re.compile(rb"(?im)^Content-length:\s*(\d{1,9})\s*$")
_RULE = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s+([A-Z_][A-Z0-9_]+)(?:\s+(.*))?")
_CONTINUED = re.compile(r"\s{10,}(\S.*)")
_RECIPIENT = Mailbox("recipient@example.org", "Recipient")
_places = threading.BoundedSemaphore(AT_ONCE)
_log = logging.getLogger("commandpost.spamd")


@dataclass(frozen=True, slots=True)
class Rule:
    """`points` as the report rounds them; below zero speaks for the message."""

    name: str
    points: float
    description: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`score` from `required` on is spam; both None where the `status` is not ok."""

    status: str
    score: float | None = None
    required: float | None = None
    rules: Sequence[Rule] = field(default_factory=list)


class _NoAnswer(Exception):
    """What came is no answer of spamd, or none came in time."""


def check(*, sender: str, subject: str, html: str | None, text: str | None) -> Verdict | None:
    """What spamd says of such a message; None where none is configured."""
    spamd = config.settings().spamd
    if spamd is None:
        return None
    if len(html or "") + len(text or "") > LARGEST:
        return Verdict(TOO_LARGE)
    message = _message(sender, subject, html, text)
    if len(message) > LARGEST:
        return Verdict(TOO_LARGE)
    if not _places.acquire(timeout=_WAIT_S):
        return Verdict(UNAVAILABLE)
    try:
        return _read(_asked(spamd, message))
    except (OSError, _NoAnswer) as error:
        _log.warning("spamd_unavailable", extra={"spamd": str(spamd), "error": str(error)})
        return Verdict(UNAVAILABLE)
    finally:
        _places.release()


def _message(sender: str, subject: str, html: str | None, text: str | None) -> bytes:
    """As it would be sent: what is missing would cost points that are not the content's."""
    return compose.render(
        body=compose.build_body(html or None, text or None),
        message_id=f"{ids.new_uuid()}@{sender.rpartition('@')[2]}",
        date_ms=clock.now_ms(),
        sender=Mailbox(sender, ""),
        subject=" ".join(subject.split())[:_SUBJECT_MOST],
        to=[_RECIPIENT],
    )


def _asked(spamd: Address, message: bytes) -> bytes:
    """The answer to one REPORT; raises `OSError`, `_NoAnswer`."""
    end = time.monotonic() + PATIENCE_S
    with socket.create_connection((spamd.host, spamd.port), timeout=_CONNECT_S) as line:
        line.settimeout(PATIENCE_S)
        line.sendall(b"REPORT SPAMC/1.2\r\nContent-length: %d\r\n\r\n" % len(message) + message)
        line.shutdown(socket.SHUT_WR)
        got = bytearray()
        while len(got) <= _ANSWER_MOST:
            left = end - time.monotonic()
            if left <= 0:
                raise _NoAnswer("no answer in time")
            line.settimeout(left)
            piece = line.recv(65536)
            if not piece:
                return bytes(got)
            got += piece
    raise _NoAnswer("the answer is too long")


def _read(answer: bytes) -> Verdict:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(None, 2)
    if len(status) < 2 or not status[0].startswith(b"SPAMD/") or status[1] != b"0":
        raise _NoAnswer(f"answered {status!r}")
    head = head.replace(b"\r", b"")
    verdict, length = _VERDICT.search(head), _LENGTH.search(head)
    if verdict is None or (length is not None and len(body) < int(length[1])):
        raise _NoAnswer("the answer is cut off")
    return Verdict(OK, float(verdict[1]) + 0.0, float(verdict[2]), _rules(body.decode("utf-8", "replace")))


def _rules(report: str) -> list[Rule]:
    """Those of the table that spamd's report ends with, the dearest first."""
    found: list[Rule] = []
    table = report.rpartition("\n----")[2].splitlines()[1:]
    for line in table:
        if (row := _RULE.fullmatch(line)) is not None:
            found.append(Rule(row[2], float(row[1]) + 0.0, (row[3] or "").strip()))
        elif found and (more := _CONTINUED.fullmatch(line)) is not None:
            last = found[-1]
            found[-1] = Rule(last.name, last.points, f"{last.description} {more[1].strip()}".strip())
    return sorted(found, key=lambda rule: -rule.points)
