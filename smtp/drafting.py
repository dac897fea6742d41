"""From a submitted message to a draft: who it is from, what its control headers ask for, the header mended."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import getaddresses
from typing import Any

import orjson

from gateway import clock, errors
from gateway.mail import address, headers, parse, submitted
from gateway.mail.draft import STREAMS, Draft, Mailbox
from gateway.services import queues
from models.vocabulary import Stream

MAX_HEADER = 64 * 1024
"""Bytes of the header section; receivers refuse more."""
ENVELOPE_MOST = 320
"""Characters of an envelope sender that are kept: a local part of 64 and a domain of 255."""
MAX_KEY = 255
MAX_TAG = 190
MAX_TAGS = 50
"""Tags of one message: every event of it counts under each."""

_CONTROLS = frozenset(
    (
        "x-tags",
        "x-metadata",
        "x-track-opens",
        "x-track-links",
        "x-send-at",
        "x-stream",
        "x-idempotency-key",
        "x-dry-run",
    )
)
_ONCE = _CONTROLS | {"from", "sender", "reply-to", "to", "cc", "message-id", "date", "subject"}
"""Fields that may stand once (RFC 5322 §3.6): with two of them receivers differ in which they show."""

_CHANGES_ON_RETRY = frozenset(("date", "message-id", "received", "x-idempotency-key"))
_NAME = re.compile(rb"[!-9;-~]{1,998}\Z")
_BOUNDARY = re.compile(rb'boundary="?([^"\r\n; ]{1,70})"?', re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENTED = re.compile(r"([^\s<>()\",;]+)\s*\(([^()<>@\"]*)\)\Z")
_UNSAFE = re.compile(r"[^!-~]+")
_KEY = re.compile(r"[ -~]+\Z")
_KEY_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"\Z')

Field = tuple[str, str, bytes]
"""Lower-case name, unfolded value, the whole field with its line ends."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What the Received field tells (RFC 5321 §4.4)."""

    client_name: str
    client_ip: str
    hostname: str
    protocol: str
    at_ms: int

    def field(self) -> bytes:
        at = clock.from_ms(self.at_ms).strftime("%a, %d %b %Y %H:%M:%S +0000")
        name = _UNSAFE.sub("?", self.client_name)[:255] or "unknown"
        ip = f"IPv6:{self.client_ip}" if ":" in self.client_ip else self.client_ip
        line = f"Received: from {name} ([{ip}])\r\n by {self.hostname} with {self.protocol};\r\n {at}\r\n"
        return line.encode("ascii", "replace")


def read(content: bytes, *, recipients: Sequence[str], trace: Trace) -> tuple[Draft, bool]:
    """The draft of a tidy message (CRLF lines) for its envelope recipients, and whether it is only a dry run.

    Raises `Invalid`, also for an X-Dry-Run that is neither yes nor no: it may have meant that nothing be sent.
    """
    fields, body = split(content)
    values: dict[str, str] = {}
    for name, value, _ in fields:
        if name in _ONCE and name in values:
            raise errors.Invalid(f"The message has more than one {name.title()} field.")
        values.setdefault(name, value)
    draft = Draft(
        sender=_sender(values.get("from", "")),
        subject=decode(values.get("subject", "")),
        to=_mailboxes(values.get("to", "")),
        cc=_mailboxes(values.get("cc", "")),
        reply_to=_mailboxes(values.get("reply-to", "")),
        envelope_to=list(recipients),
    )
    _obey(draft, values)
    dry = bool(_flag("X-Dry-Run", _read("x-dry-run", values["x-dry-run"]))) if "x-dry-run" in values else False
    if draft.idempotency_key is not None:
        draft.idempotency_scope = "smtp"
        draft.fingerprint = _fingerprint(fields, body, draft.envelope_to or [])
    kept = b"".join(whole for name, _, whole in fields if name not in _CONTROLS)
    draft.raw = trace.field() + submitted.normalise_raw(kept + b"\r\n" + body, date_ms=trace.at_ms)
    return draft, dry


def split(content: bytes) -> tuple[list[Field], bytes]:
    """The header fields and the body; raises `Invalid` where a line of the header is no field."""
    end = content.find(b"\r\n\r\n")
    header, body = (content, b"") if end < 0 else (content[: end + 2], content[end + 4 :])
    if content.startswith(b"\r\n"):
        header, body = b"", content[2:]
    if len(header) > MAX_HEADER:
        raise errors.Invalid(f"The header has more than {MAX_HEADER} bytes.")
    gathered: list[tuple[bytes, list[bytes]]] = []
    for line in header.split(b"\r\n"):
        if not line:
            continue
        if line[:1] in (b" ", b"\t"):
            if not gathered:
                raise errors.Invalid("The header starts with a continued line.")
            gathered[-1][1].append(line)
            continue
        name, colon, _ = line.partition(b":")
        if not colon or not _NAME.match(name):
            raise errors.Invalid("A line of the header is no field; an empty line should separate header and body.")
        gathered.append((name, [line]))
    fields: list[Field] = []
    for name, lines in gathered:
        value = b"".join(lines)[len(name) + 1 :].decode("utf-8", "replace").strip(" \t")
        fields.append((name.decode("ascii").lower(), value, b"\r\n".join(lines) + b"\r\n"))
    return fields, body


def noted(mail_from: str | None) -> str:
    """The envelope sender as it is kept for whoever asks; the null reverse-path is `<>`.

    It goes nowhere: our return path takes its place, so that reports come back here.
    """
    return headers.one_line(mail_from or "").replace("\t", " ")[:ENVELOPE_MOST] or "<>"


def decode(value: str) -> str:
    """A field's text without RFC 2047 encoded words, on one line."""
    return headers.one_line(parse.decoded_words(value))


def _sender(value: str) -> Mailbox:
    """The one mailbox of From; whatever two receivers might read differently is refused."""
    if not value:
        raise errors.Invalid("The message has no From field.", field="From")
    commented = _COMMENTED.match(value)
    if commented:
        return Mailbox(address.check(commented.group(1)), decode(commented.group(2)))
    plain = _QUOTED.sub("", value)
    boxes = address.parse_list(value)
    if len(boxes) != 1 or plain.count("<") > 1 or plain.count(">") > 1:
        raise errors.Invalid("From should name one address.", field="From")
    return Mailbox(boxes[0].email, decode(boxes[0].name))


def _mailboxes(value: str) -> list[Mailbox]:
    """The addresses of To, Cc or Reply-To for whoever looks at the message later; the envelope decides who gets it."""
    found: list[Mailbox] = []
    for name, email in getaddresses([value]) if value else ():
        try:
            found.append(Mailbox(address.check(email), decode(name)))
        except errors.Invalid:
            continue
    return found


def _obey(draft: Draft, values: dict[str, str]) -> None:
    """Do what the control headers ask for; raises `Invalid` for what cannot be understood."""
    asked = {name: _read(name, values[name]) for name in _CONTROLS if name in values}
    if "x-tags" in asked:
        draft.tags = _tags(asked["x-tags"])
    if "x-metadata" in asked:
        draft.metadata = _metadata(asked["x-metadata"])
    if "x-track-opens" in asked:
        draft.track_opens = _flag("X-Track-Opens", asked["x-track-opens"])
    if "x-track-links" in asked:
        draft.track_links = _flag("X-Track-Links", asked["x-track-links"])
    if "x-send-at" in asked:
        draft.send_at_ms = _moment(asked["x-send-at"])
    if "x-stream" in asked:
        draft.stream = _stream(asked["x-stream"])
    if "x-idempotency-key" in asked:
        draft.idempotency_key = _key(asked["x-idempotency-key"])


def _stream(text: str) -> Stream:
    found = STREAMS.get(text.strip().lower())
    if found is None:
        raise errors.Invalid("X-Stream should be transactional or bulk.", field="X-Stream")
    return found


def _read(name: str, value: str) -> str:
    """What a control header says; a guess at octets that are no text would be kept as a tag for ever."""
    text = decode(value)
    if "\ufffd" in text:
        raise errors.Invalid(f"{name.title()} is no UTF-8 text.")
    return text


def _tags(text: str) -> list[str]:
    """A JSON list of texts, or texts separated by commas."""
    items: Any = text.split(",")
    if text.startswith("["):
        try:
            items = orjson.loads(text)
        except orjson.JSONDecodeError:
            items = None
    if not isinstance(items, list) or not all(isinstance(item, str) and _is_tag(item.strip()) for item in items):
        raise errors.Invalid(f"X-Tags should be texts of at most {MAX_TAG} characters, separated by commas.")
    tags = list(dict.fromkeys(item.strip() for item in items if item.strip()))
    if len(tags) > MAX_TAGS:
        raise errors.Invalid(f"X-Tags should be at most {MAX_TAGS} texts.")
    return tags


def _is_tag(text: str) -> bool:
    """A JSON list may hold characters that no header line can."""
    return len(text) <= MAX_TAG and not any(unicodedata.category(character) == "Cc" for character in text)


def _metadata(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise errors.Invalid("X-Metadata should be a JSON object.")
    return found


def _flag(name: str, text: str) -> bool | None:
    """None, as the domain says, for an empty field."""
    word = text.lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    if not word:
        return None
    raise errors.Invalid(f"{name} should be 1 or 0.")


def _moment(text: str) -> int | None:
    """Milliseconds of Unix seconds or a time in UTC; None is now, like the past."""
    if not text:
        return None
    at_ms, now = clock.moment_ms(text), clock.now_ms()
    if at_ms is None:
        raise errors.Invalid("X-Send-At should be Unix seconds or YYYY-MM-DD HH:MM:SS in UTC.")
    if at_ms > now + queues.FURTHEST_DAYS * clock.DAY_MS:
        raise errors.Invalid(f"X-Send-At is more than {queues.FURTHEST_DAYS} days ahead.")
    return at_ms if at_ms > now else None


def _key(text: str) -> str:
    """The key, an RFC 8941 string or bare text, as the Idempotency-Key of HTTP."""
    quoted = _KEY_QUOTED.match(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if not _KEY.match(key) or len(key) > MAX_KEY:
        raise errors.Invalid(f"X-Idempotency-Key should be 1 to {MAX_KEY} printable ASCII characters.")
    return key


def _fingerprint(fields: Sequence[Field], body: bytes, recipients: Sequence[str]) -> str:
    """What makes two submissions the same although a client that tries again makes Date and boundaries anew."""
    whole = b"".join(line for name, _, line in fields if name not in _CHANGES_ON_RETRY) + b"\r\n" + body
    for boundary in dict.fromkeys(_BOUNDARY.findall(whole)):
        whole = whole.replace(boundary, b"boundary")
    return hashlib.sha256("\n".join(sorted(recipients)).encode() + b"\0" + whole).hexdigest()
