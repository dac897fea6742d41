"""Generated HTTP requests that are wrong somewhere: types, numbers, encodings, structure, framing."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from commands import registry
from tests.hostile_texts import TEXTS

COMMANDS = [command.name for command in registry.all_commands() if not command.name.endswith(".Login")]
"""Without the logins: each costs a password hash, and too many are refused anyway."""

PARAMETERS = sorted({name for command in registry.all_commands() for name in command.params.fields})
SEND = (
    *("SenderAPIKey", "Subject", "ContentType", "HtmlContent", "PlainContent", "From", "To", "CC", "BCC", "ReplyTo"),
    *("Attachments", "Headers", "Tags", "TrackLinks", "TrackOpens", "SendAt", "TargetListID", "TemplateID", "ListID"),
    *("StartFrom", "RetrieveCount", "StartDate", "EndDate", "Event", "MessageID", "Query", "WebhookID", "WebhookURL"),
)
PATHS = ("/api/v1/email", "/api/v1/events", "/api/v1/webhooks", "/api/v1/webhooks/5", "/api/v1/webhooks/" + "9" * 30)
ODD_PATHS = ("/api/v1/webhooks/%00", "/health", "/metrics", "/ready", "/api/v1/nope", "//", "/%ff")
CREDENTIALS = ("Basic x", "Bearer", "Bearer " + "x" * 300, "bearer \xff\xfe")
QUERIES = (
    "",
    "",
    "",
    "?a[b][c]=1",
    "?%00=%ff",
    "?a=%ED%A0%80",
    "?ResponseFormat=XML",
    "?JSONPCallBack=1&callback=a(1)",
)

_GOOD_SEND = {
    "Subject": "s",
    "ContentType": "html",
    "HtmlContent": "x",
    "From": {"email": "a@shop.test", "name": "n"},
    "To": [{"email": "jane@friends.test", "name": "Jane"}],
}
_VALUES: tuple[Any, ...] = (
    *(0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63) - 1, 1e308, 0.5, None, True, False, "", [], {}, " "),
    *("9" * 19, "9" * 400, "0x10", "1e3", "\u0661\u0662", "+1", "-1", "NaN", "Infinity"),
    *("0001-01-01", "9999-12-31", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "253402300800", "-1"),
    *("delivery", "K", "(((((", "NOT " * 40, "-" * 500 + "a", 'subject:"a', "a OR " * 20 + "b"),
    *("http://127.0.0.1:9/", "http://[", "http:///", "http://a\r\nb/", "http://1.1.1.1:99999/", "ftp://a", "//x"),
    *("xn--zzz", "a" * 64 + ".test", "..", "1.2.3.4", "\u3002test", "\ufb00.test", "x." * 130 + "y"),
)
_PIECES = (
    b"a[",
    b"a]",
    b"To[0][email]",
    b"To[]",
    b"To[99999999999][x]",
    b"[x]",
    b"a" + b"[b]" * 40,
    b"%ff",
    b"Command",
)
_CHUNKS = (
    b"zz\r\n",
    b"-1\r\n",
    b"f" * 18 + b"\r\n",
    b"5\r\nab",
    b"0\r\n\r\n",
    b"1;" + b"x" * 5000 + b"\r\na\r\n0\r\n\r\n",
)


@dataclass(frozen=True)
class Hostile:
    """Makes requests with these credentials, the same ones for the same seed."""

    account_key: str
    sender_key: str
    domain_id: int

    def request(self, random_: random.Random) -> tuple[bytes, bool]:
        """The bytes of one request, and whether its sender stops sending behind them."""
        if random_.random() < 0.5:
            fields, head = self._command(random_)
        else:
            fields, head = self._rest(random_)
        body, kind = _body(random_, fields)
        if kind:
            head += f"Content-Type: {kind}\r\n"
        extra = random_.randrange(40)
        if extra == 0:
            head += "".join(f"X-{i}: y\r\n" for i in range(random_.choice((50, 99, 300))))
        elif extra == 1:
            head += "X-A: " + "z" * random_.choice((8000, 9000, 30_000)) + "\r\n"
        elif extra == 2:
            head += "X-Forwarded-For: 1.1.1.1\r\nSCRIPT_NAME: /api\r\nPATH_INFO: /x\r\n"
        return _framed(random_, head.encode("latin-1", "replace"), body)

    def sound(self) -> bytes:
        """A request that sends a message."""
        body = json.dumps(_GOOD_SEND).encode()
        head = f"POST {PATHS[0]} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Authorization: Bearer {self.sender_key}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def _command(self, random_: random.Random) -> tuple[dict[str, Any], str]:
        fields = {random_.choice(PARAMETERS): value(random_) for _ in range(random_.randrange(6))}
        fields["Command"] = random_.choice(COMMANDS) if random_.random() < 0.95 else value(random_)
        fields["APIKey"] = self.account_key if random_.random() < 0.9 else value(random_)
        if random_.random() < 0.6:
            fields["DomainID"] = self.domain_id
        method = random_.choice(("POST",) * 8 + ("GET", "DELETE", "PUT", "HEAD", "TRACE"))
        return fields, f"{method} /api.php{random_.choice(QUERIES)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

    def _rest(self, random_: random.Random) -> tuple[dict[str, Any], str]:
        fields = {random_.choice(SEND): value(random_) for _ in range(random_.randrange(6))}
        path = random_.choice(PATHS if random_.random() < 0.8 else ODD_PATHS)
        method = random_.choice(("POST", "POST", "POST", "GET", "GET", "DELETE", "PUT"))
        if path == PATHS[0]:
            method, fields = "POST", _GOOD_SEND | fields
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        if random_.random() < 0.9:
            head += f"Authorization: Bearer {self.sender_key}\r\n"
        else:
            head += "Authorization: " + random_.choice(CREDENTIALS) + "\r\n"
        if random_.random() < 0.1:
            head += "Idempotency-Key: " + random_.choice(('"a', "x" * 300, "\xe9", " ")) + "\r\n"
        return fields, head


def value(random_: random.Random, depth: int = 0) -> Any:
    """A value of any type and size; texts may try to leave their place."""
    kind = random_.randrange(8)
    if kind == 0 and depth < 4:
        return [value(random_, depth + 1) for _ in range(random_.randrange(4))]
    if kind == 1 and depth < 4:
        names = ("email", "name", "Content", "Filename", "", "\0", "__proto__")
        return {random_.choice(names): value(random_, depth + 1) for _ in range(random_.randrange(4))}
    if kind in (2, 3):
        return random_.choice(TEXTS)
    if kind == 4:
        return "".join(random_.choice('ab \t\r\n\0=?"\\<>,;:@é日🎉\u2028.%&[]{}') for _ in range(random_.randrange(40)))
    return random_.choice(_VALUES)


def _body(random_: random.Random, fields: dict[str, Any]) -> tuple[bytes, str]:
    body = json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")
    kind = random_.choice(("application/json",) * 5 + ("text/plain", "application/json; charset=utf-16", ""))
    match random_.randrange(18):
        case 0:  # the same name twice
            body = body.replace(b"{", b'{"Command":"User.Get","Command":[1],', 1)
        case 1:  # what is no JSON number, or none that fits
            odd = random_.choice((b"NaN", b"Infinity", b"-0", b"1e999", b"9" * 400, rb'"\ud800"', rb'"\u0000"'))
            body = re.sub(rb':("[^"]*"|\d+)', lambda _: b":" + odd, body, count=1)
        case 2:
            depth = random_.choice((10, 40, 300, 5000))
            body = b'{"a":' * depth + b"1" + b"}" * depth
        case 3:
            body = b"[" * random_.choice((10, 1100, 20_000))
        case 4:
            at = random_.randrange(len(body))
            body = body[:at] + bytes([random_.randrange(256)]) + body[at:]
        case 5:
            body = body[: random_.randrange(len(body))]
        case 6:
            body = random_.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\0")) + body
        case 7:
            body = "&".join(
                f"{name}={quote(str(it), safe='', errors='replace')}" for name, it in fields.items()
            ).encode()
            kind = "application/x-www-form-urlencoded"
        case 8:
            pairs = (random_.choice(_PIECES) + b"=" + random_.choice((b"1", b"%ff", b"%00", b"")) for _ in range(12))
            body, kind = b"&".join(pairs), "application/x-www-form-urlencoded"
        case 9:
            part = random_.choice((b"", b"\r\nContent-Type: text/plain; charset=utf-7"))
            junk = bytes(random_.randrange(256) for _ in range(20))
            body = b'--x\r\nContent-Disposition: form-data; name="From[email]"' + part + b"\r\n\r\n" + junk
            body += random_.choice((b"\r\n--x--\r\n", b""))
            kind = "multipart/form-data; boundary=" + random_.choice(("x", '"x', "x" * 300))
        case 10:
            body = bytes(random_.randrange(256) for _ in range(random_.randrange(200)))
    return body, kind


def _framed(random_: random.Random, head: bytes, body: bytes) -> tuple[bytes, bool]:
    match random_.randrange(16):
        case 0:
            chunks = random_.choice((*_CHUNKS, b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"))
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, True
        case 1:
            length = random_.choice((b"-1", b"abc", b"9" * 20, b"5 5", b"+5", b"0x5"))
            return head + b"Content-Length: " + length + b"\r\n\r\n" + body, True
        case 2:
            return head + b"Content-Length: %d\r\n\r\n" % (len(body) + 50) + body, True
        case 3:
            return head + b"Content-Length: 400000000\r\n\r\n" + body, True
        case 4:
            return head + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, False
