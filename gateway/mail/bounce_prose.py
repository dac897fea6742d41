"""Bounces in prose that neither follow RFC 3464 nor quote a reply plainly: other people's detectors, then words."""

from __future__ import annotations

import email
import email.policy
import logging
import re

from flufl.bounce import all_failures

from gateway.mail import bounce_words, classify, dsn
from gateway.mail import parse as mime
from gateway.mail.dsn import RecipientStatus, Report

_SIZE_MAX = 32 * 1024
"""Octets that the detectors of flufl.bounce see: they match line by line, each line against many patterns."""
_LINE_MAX = 300
_LINES_MAX = 500
_BOUNDARIES_MAX = 20
"""A report has three parts; the email package takes quadratic time over nested ones."""

_RUN = re.compile(rb"([ \t\-*=_.@])\1{30,}")
_ADDRESS = re.compile(r"[^\s<>\"':;,()\[\]=]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_PASSED_ON = re.compile(r"\s*(?:re|fwd?|aw|wg|tr|rv|sv|enc|i|doorst) ?:", re.IGNORECASE)
_X400 = re.compile(r"\b(?:DDA:RFC-?822=|SMTP[=:])([^\s<>\"';,()/]{1,64}(?:\(a\)|@)[A-Za-z0-9.-]{1,253})", re.IGNORECASE)

logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)  # a line for every detector, and every failure twice


def parse(raw: bytes, *, null_sender: bool) -> Report | None:
    """What a bounce without form says, None where too little speaks for one; never raises.

    `null_sender` says that the envelope sender was `<>`, which every bounce should have (RFC 5321 §4.5.5)
    and automatic answers of people often have.
    """
    top = mime.read(raw)
    leaves = mime.leaves(top)
    writer = mime.first(top.fields, "from")[:998]
    daemon = bounce_words.DAEMON.search(mime.decoded_words(writer)) is not None
    subject = bounce_words.subject(top)
    named_so = bounce_words.SUBJECT.search(subject) is not None
    if daemon + named_so + null_sender < 2:
        return None
    if (
        not daemon
        and mime.first(top.fields, "auto-submitted").strip().lower().startswith("auto-replied")
        and not named_so
    ):
        return None  # an absent person's answer
    if not daemon and _PASSED_ON.match(subject):
        return None  # a person asks about a bounce
    text = bounce_words.own_words(leaves)
    temporary, permanent = _detected(raw)
    reply = dsn.quoted_reply(text)
    status = classify.enhanced_code(reply or text) or bounce_words.code(text)
    category = (
        classify.category(None if not reply else int(reply[:3]), status, reply or text) if status or reply else ""
    )
    category = category or classify.category(0, "", text)
    undelivered = bounce_words.UNDELIVERED.search(text) or (named_so and bounce_words.DELAY.search(text))
    if not (temporary or permanent or reply or status or undelivered or (category and named_so)):
        return None
    quotes = any(leaf.kind in dsn.ORIGINAL_KINDS for leaf in leaves)
    if not daemon and not (temporary or permanent or reply or status or quotes):
        return None  # people write of deliveries that failed, too
    delayed = _delayed(subject, text, status or reply, bool(temporary) and not permanent)
    recipients = sorted(temporary | permanent) or _recipients(text, writer)
    message_id, delivery_id = dsn.original(top, leaves)
    action = dsn.DELAYED if delayed else dsn.FAILED
    diagnostic = reply or " ".join(text.split())[:400]
    code = int(reply[:3]) if reply else None
    return Report(
        tuple(
            RecipientStatus(one, action, status, code, diagnostic, "") for one in recipients[: mime.PARTS_MAX] or [""]
        ),
        message_id=message_id,
        delivery_id=delivery_id,
        standard=False,
    )


def _delayed(subject: str, text: str, status: str, detected: bool) -> bool:
    if status.startswith("5"):
        return False
    said = bounce_words.DELAY.search(subject) or bounce_words.DELAY.search(text)
    return bool(said or detected) and not bounce_words.GIVEN_UP.search(text)


def _detected(raw: bytes) -> tuple[set[str], set[str]]:
    """The addresses that flufl.bounce finds to fail for now and for good; nothing of what could keep it busy."""
    if raw[:_SIZE_MAX].lower().count(b"boundary=") > _BOUNDARIES_MAX:
        return set(), set()
    lines = mime.line_ends(raw[:_SIZE_MAX]).split(b"\r\n")
    cut = b"\n".join(_RUN.sub(rb"\1", line[:_LINE_MAX]) for line in lines[:_LINES_MAX])
    try:
        found = all_failures(email.message_from_bytes(cut, policy=email.policy.compat32))
    except Exception:  # its detectors and the email package raise many kinds on broken mail
        return set(), set()
    temporary, permanent = (
        {text for one in some if "@" in (text := one.decode("utf-8", "replace").strip(" <>'\"")) and len(text) <= 320}
        for some in found
    )
    return temporary, permanent


def _recipients(text: str, writer: str) -> list[str]:
    """The addresses that the words name, most likely first; not the writer's own and no return paths."""
    gateway = [found.replace("(a)", "@") for found in _X400.findall(text[:8192])]
    plain = _ADDRESS.findall(text[:8192])
    own = set(_ADDRESS.findall(writer.lower()))
    names = [one.strip(".-") for one in [*gateway, *plain]]
    return list(
        dict.fromkeys(
            one
            for one in names
            if one.lower() not in own and not bounce_words.DAEMON.search(one) and not one.startswith("b+")
        )
    )[:1]
