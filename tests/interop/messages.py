"""Messages with odd content, as drafts and as submitted over SMTP."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator

from gateway import clock
from gateway.mail.draft import Attachment, Draft, Mailbox
from smtp import drafting
from smtp.data import tidy
from tests import cast

_TEXTS = {
    "plain": "Hello\n",
    "8-bit": "Grüße aus Köln, 東京 und Αθήνα\n" * 3,
    "long lines": "word " * 700 + "\n" + "x" * 900 + "\n",
    "no space to fold at": "ü" * 3000,
    "trailing spaces": "a  \nb\t \n  \n   \nc \t",
    "empty lines at the end": "text\n\n\n\n\n",
    "no line end": "the end",
    "dots": ".\n..\n.dot\n\n.\n",
    "only spaces": "   \n \t \n",
    "From lines": "From here\n>From there\nFrom \n",
    "tabs": "\ta\t\tb\t\n\t\n",
    "controls": "a\x0bb\x0cc\x7f\n",
}
_SUBJECTS = ("Order 1", "Grüße: 東京 🎉", "two  spaces ", "word " * 60, "=?utf-8?q?looks_coded?=")
_HEAD = b"From: The Shop <hello@shop.test>\r\nTo: jane@friends.test\r\n"
_RAW = {
    "empty body": b"Subject: nothing\r\n\r\n",
    "only line ends": b"Subject: lines\r\n\r\n\r\n\r\n\r\n",
    "no line end": b"Subject: end\r\n\r\nno line end",
    "trailing spaces": b"Subject: spaces \t \r\n\r\na \t \r\n \r\nb   \r\n  \r\n \t\r\n",
    "folded subject": b"Subject: one\r\n two\r\n\tthree\r\n\r\nHi\r\n",
    "folded with much space": b"Subject:  one\r\n   \t two  \r\n \tthree\r\n\r\nHi\r\n",
    "8-bit body": b"Subject: 8\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n" + "Grüße  \r\n東京\t\r\n".encode() * 20,
    "latin-1 body": b"Subject: l1\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n" + "Grüße\r\n".encode("latin-1"),
    "UTF-8 header": "Subject: Grüße 東京\r\nX-Kind: größer\r\n\r\nHi\r\n".encode(),
    "coded subject": b"Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n =?utf-8?Q?_noch_eine?=\r\n\r\nHi\r\n",
    "names in odd case": b"sUBJECT: case\r\nREPLY-TO: a@shop.test\r\ncc: c@friends.test\r\n\r\nHi\r\n",
    "line of 998": b"Subject: long\r\n\r\n" + b"x" * 998 + b"\r\n" + b"y " * 499 + b"\r\n",
    "line of 5000": b"Subject: longer\r\n\r\n" + b"word " * 1000 + b"\r\n",
    "long header": b"Subject: long\r\nList-Unsubscribe: <https://shop.test/" + b"u" * 800 + b">\r\n\r\nHi\r\n",
    "one-click": b"Subject: list\r\nList-Unsubscribe: <https://shop.test/u>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nFeedback-ID: a:b:c:shop\r\n\r\nHi\r\n",
    "empty subject": b"Subject:\r\n\r\nHi\r\n",
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n.\r\n",
    "signed before": b"DKIM-Signature: v=1; a=rsa-sha256; d=other.test; s=x; h=from; bh=AAAA; b=BBBB\r\n"
    b"Subject: again\r\n\r\nHi\r\n",
}


def drafts() -> Iterator[tuple[str, Draft]]:
    """More than fifty, each with what is odd about it; all from shop.test to friends.test."""
    for (name, text), subject in zip(_TEXTS.items(), itertools.cycle(_SUBJECTS), strict=False):
        yield f"{name}, text", cast.draft(text=text, html=None, subject=subject)
        yield f"{name}, html", cast.draft(text=None, html=f"<p>{text}</p>", subject=subject)
        yield f"{name}, both", cast.draft(text=text, html=f"<pre>{text}</pre>", subject=subject)
    every_byte = bytes(range(256)) * 40
    yield "attachment", cast.draft(attachments=[Attachment("größe.bin", "application/octet-stream", every_byte)])
    yield (
        "inline picture",
        cast.draft(attachments=[Attachment("a.png", "image/png", every_byte, inline=True, content_id="a")]),
    )
    yield "attached text", cast.draft(attachments=[Attachment("a.txt", "text/plain", b"a \r\n\r\n")])
    yield "names", cast.draft(to=[Mailbox("jane@friends.test", 'Zoë "Z." Ünal, Dr.')])
    yield "headers", cast.draft(headers=[("X-Mailer", "a  b"), ("Feedback-ID", "1:2:3:shop")])
    yield "reply-to", cast.draft(reply_to=[Mailbox("answers@shop.test", "Antwörten, bitte")])
    for name, rest in _RAW.items():
        yield f"{name}, raw", _submitted(_HEAD + rest)
    picture = base64.encodebytes(every_byte).replace(b"\n", b"\r\n")
    yield (
        "multipart, raw",
        _submitted(
            _HEAD
            + b'Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\tboundary="b=_1"\r\n\r\n'
            b"preamble \r\n--b=_1\r\nContent-Type: text/plain\r\n\r\ntext \r\n\r\n--b=_1\r\n"
            b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + picture
            + b"--b=_1--\r\n\r\n"
        ),
    )


def _submitted(content: bytes) -> Draft:
    trace = drafting.Trace("client.test", "192.0.2.1", "mx.gateway.test", "ESMTPSA", clock.now_ms())
    return drafting.read(tidy(content), recipients=["jane@friends.test"], trace=trace)[0]
