"""Delivery status notifications (RFC 3464) and the bounces of servers that never heard of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice

from gateway.mail import bounce_words, classify, verp
from gateway.mail import parse as mime
from gateway.mail.parse import Fields, Part

FAILED, DELAYED, DELIVERED, RELAYED, EXPANDED = "failed", "delayed", "delivered", "relayed", "expanded"

STATUS_KINDS = ("message/delivery-status", "message/global-delivery-status")
ORIGINAL_KINDS = ("message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers")

_STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_CODE = re.compile(r"(?<![\d.])([245]\d\d)(?![\d.])")
_UNICODE = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_ADDRESS = re.compile(r"[^\s<>\"':;,()\[\]]{1,64}@[A-Za-z0-9.-]{1,253}")
_NAMED = re.compile(r"^[ \t]{0,16}<?([^\s<>\"':;,()\[\]]{1,64}@[A-Za-z0-9.-]{1,253}?)>?:?\s*$", re.MULTILINE)
_REPLY = re.compile(r"(?:^|said:|error:|\s|\()((?:[45]\d\d)[ -](?:#?[45]\.\d{1,3}\.\d{1,3}\s)?[^\n]{3,400})")


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """`action` is one of the five of RFC 3464 §2.3.3; `status` an RFC 3463 code or ''; `code` an SMTP reply code."""

    recipient: str
    action: str
    status: str
    code: int | None
    diagnostic: str
    remote_mta: str
    original_recipient: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """`message_id` without brackets and `delivery_id` are of the message that the report is about, if it tells."""

    recipients: tuple[RecipientStatus, ...]
    reporting_mta: str = ""
    message_id: str = ""
    delivery_id: int | None = None
    standard: bool = True  # False: read from the words of a bounce, not from RFC 3464 fields


def parse(raw: bytes) -> Report | None:
    """What a delivery report says, None for any other message; never raises."""
    top = mime.read(raw)
    leaves = mime.leaves(top)
    status = next((leaf for leaf in leaves if leaf.kind in STATUS_KINDS), None)
    message_id, delivery_id = original(top, leaves)
    if status is not None:
        blocks = _blocks(status.content())
        recipients = tuple(found for found in map(_recipient, blocks) if found is not None)
        if recipients:
            words = bounce_words.own_words(leaves)
            recipients = tuple(_explained(one, words) for one in recipients)
            reporting = _typed(next((first for b in blocks if (first := mime.first(b, "reporting-mta"))), ""))
            return Report(recipients, reporting, message_id, delivery_id)
    return _worded(top, leaves, message_id, delivery_id)


def original(top: Part, leaves: list[Part]) -> tuple[str, int | None]:
    """The Message-ID of the message that a report quotes, and the delivery that its return path names."""
    message_id, delivery_id = "", None
    for leaf in leaves:
        if leaf.kind in ORIGINAL_KINDS:
            fields, _ = mime.split(leaf.content().lstrip(b"\r\n"))
            message_id = mime.first(fields, "message-id").strip("<> ")[:998]
            delivery_id = verp.decode(mime.first(fields, "return-path"))
            break
    if delivery_id is None:
        names = (b"to", b"delivered-to", b"x-original-to", b"envelope-to")
        named = (line for name, line in top.fields if name in names)
        lines = map(mime.value, islice(named, mime.PARTS_MAX))
        found = (verp.decode(text) for line in lines for text in _ADDRESS.findall(line[:4096]))
        delivery_id = next((number for number in found if number is not None), None)
    return message_id, delivery_id


def _blocks(content: bytes) -> list[Fields]:
    """The groups of fields between blank lines (RFC 3464 §2.1)."""
    blocks: list[Fields] = []
    for text in re.split(rb"\r\n(?:[ \t]*\r\n)+", content.strip(b"\r\n "))[: mime.PARTS_MAX]:
        fields, _ = mime.split(text + b"\r\n")
        if fields:
            blocks.append(fields)
    return blocks


def _typed(text: str) -> str:
    """What follows the type of `rfc822; jane@example.com` or `dns; mx.example.com`."""
    kind, semicolon, rest = text.partition(";")
    text = rest if semicolon and "@" not in kind else text
    if kind.strip().lower() == "utf-8":  # RFC 6533 §3 spells characters as \\x{F6} where only ASCII may pass
        text = _UNICODE.sub(lambda found: chr(min(int(found[1], 16), 0x10FFFF)), text)
    return text.encode("utf-8", "replace").decode("utf-8").strip(" <>\t")[:998]


def _recipient(fields: Fields) -> RecipientStatus | None:
    final = _typed(mime.first(fields, "final-recipient"))
    first = _typed(mime.first(fields, "original-recipient"))
    action = mime.first(fields, "action").strip().lower().partition(" ")[0]
    diagnostic = _typed(mime.first(fields, "diagnostic-code"))
    found = _STATUS.search(mime.first(fields, "status")[:200])
    status = found[0] if found else classify.enhanced_code(diagnostic)
    if not (final or first or action) or not (action or status):
        return None
    if action not in (FAILED, DELAYED, DELIVERED, RELAYED, EXPANDED):
        action = {"2": DELIVERED, "4": DELAYED}.get(status[:1], FAILED)
    if found and found[0].endswith(".0.0") and classify.enhanced_code(diagnostic)[:1] == status[:1]:
        status = classify.enhanced_code(diagnostic)  # 5.0.0 says nothing that the remote's own code does not say better
    code = _CODE.search(diagnostic[:200])
    return RecipientStatus(
        recipient=final or first,
        action=action,
        status=status,
        code=int(code[1]) if code else None,
        diagnostic=diagnostic,
        remote_mta=_typed(mime.first(fields, "remote-mta")),
        original_recipient=first,
    )


def _explained(status: RecipientStatus, words: str) -> RecipientStatus:
    """The status with what the report says in prose only, as Exim does of what it cannot route or store itself."""
    if status.diagnostic or not status.recipient or not (not status.status or status.status.endswith(".0.0")):
        return status
    name = re.escape(status.recipient)
    found = re.search(rf"^[ \t]{{0,16}}<?{name}>?:?[ \t]*\n((?:[ \t]+\S[^\n]*\n?){{1,12}})", words, re.MULTILINE)
    return replace(status, diagnostic=" ".join(found[1].split())[:998]) if found else status


def _worded(top: Part, leaves: list[Part], message_id: str, delivery_id: int | None) -> Report | None:
    """A bounce in prose (qmail, Exim, old gateways): who writes, under which subject, and the reply it quotes."""
    named = _ADDRESS.findall(mime.first(top.fields, "x-failed-recipients")[:4096])
    subject = bounce_words.subject(top)
    sender = mime.first(top.fields, "from")[:998]
    if not named and not (bounce_words.DAEMON.search(sender) and bounce_words.SUBJECT.search(subject)):
        return None
    text = bounce_words.own_words(leaves)
    reply = quoted_reply(text)
    diagnostic = reply or " ".join(text.split())[:400]
    status = classify.enhanced_code(reply or text)
    listed = list(dict.fromkeys(named or _NAMED.findall(text)))[: mime.PARTS_MAX]
    if not listed or not (reply or status or classify.category(0, "", text)):
        return None
    delayed = status.startswith("4") or (not status and diagnostic[:1] == "4")
    if bounce_words.GIVEN_UP.search(text):
        delayed = False  # the last reply was temporary, and there will be no other
    elif bounce_words.DELAY.search(subject) and diagnostic[:1] != "5":
        delayed = True
    action = DELAYED if delayed else FAILED
    code = int(reply[:3]) if reply else None
    return Report(
        tuple(RecipientStatus(one, action, status, code, diagnostic, "") for one in listed),
        message_id=message_id,
        delivery_id=delivery_id,
        standard=False,
    )


def quoted_reply(text: str) -> str:
    """The first SMTP refusal that the words of a bounce quote, on one line; '' without one."""
    found = _REPLY.search(text)
    return " ".join(found[1].split()) if found else ""
