"""The unsubscribe link of a delivery: what its token says, and where it stands in the header and the bodies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from gateway.mail import rewrite, signed_address
from gateway.services import link_tokens
from gateway.services.link_tokens import Kind

PATH = "/u/"
PLACEHOLDER = "%unsubscribe_url%"
"""What a body has in place of the link; `{{unsubscribe_url}}` is understood too, and what editors make of both."""

_MAIL_PREFIX, _MAIL_PURPOSE = "u+", "unsubscribe"
LIST_UNSUBSCRIBE, LIST_UNSUBSCRIBE_POST, LIST_ID = "List-Unsubscribe", "List-Unsubscribe-Post", "List-Id"
_ONE_CLICK = "List-Unsubscribe=One-Click"
_PLACES = re.compile(
    r"%(?:25)?unsubscribe_url%(?:25)?|(?:\{\{|%7B%7B)(?:\s|%20)*unsubscribe_url(?:\s|%20)*(?:\}\}|%7D%7D)",
    re.IGNORECASE,
)
# Its own background: it stands on whatever the message has, and stays readable (WCAG 2.2, 1.4.3).
_HTML_FOOTER = (
    '<p style="margin:24px 0 0;padding:8px;font:13px/1.5 sans-serif;color:#595959;background:#ffffff">'
    f'Do you no longer want these messages? <a href="{PLACEHOLDER}" style="color:#1a4f8b;text-decoration:underline">'
    "Unsubscribe</a></p>"
)
_TEXT_FOOTER = f"\r\n\r\nTo stop these messages, unsubscribe here:\r\n{PLACEHOLDER}\r\n"


@dataclass(frozen=True, slots=True)
class Leaving:
    """Who wants no more mail, and of what. `list_id` 0: the message went to no list."""

    delivery_id: int
    domain_id: int
    list_id: int
    rcpt: str


def token(leaving: Leaving) -> str:
    """It holds the address itself: the link works when the message is long forgotten."""
    said = orjson.dumps([leaving.domain_id, leaving.list_id, leaving.rcpt])
    return link_tokens.encode(Kind.UNSUBSCRIBE, leaving.delivery_id, said)


def read(text: str) -> Leaving | None:
    """None for a token that we did not make."""
    found = link_tokens.decode(Kind.UNSUBSCRIBE, text)
    return None if found is None else Leaving(found.delivery_id, *orjson.loads(found.payload))


def url(base: str, leaving: Leaving) -> str:
    """Below `base` (`scheme://host`); without characters that HTML or a header field would have to escape."""
    return f"{base}{PATH}{token(leaving)}"


def address(delivery_id: int, host: str) -> str:
    """Where a mail unsubscribes the delivery's recipient, whatever it says; `host` is that of the return path."""
    return signed_address.encode(_MAIL_PREFIX, _MAIL_PURPOSE, delivery_id, host)


def read_address(recipient: str) -> int | None:
    """The delivery that such an address names; None for one that we did not make."""
    return signed_address.decode(_MAIL_PREFIX, _MAIL_PURPOSE, recipient)


def mentioned(texts: Sequence[str]) -> bool:
    """Whether any of the bodies has a place for the link."""
    return any(_PLACES.search(text) for text in texts)


def fill(text: str, link: str) -> str:
    """The body with the link in each place for it."""
    return _PLACES.sub(lambda _: link, text)


def with_footer(html: Sequence[str], text: Sequence[str]) -> tuple[list[str], list[str]]:
    """The bodies with a place for the link at the end of the first of each kind."""
    htmls, texts = list(html), list(text)
    if htmls:
        place = rewrite.body_end(htmls[0])
        htmls[0] = htmls[0][:place] + _HTML_FOOTER + htmls[0][place:]
    if texts:
        texts[0] = texts[0].rstrip("\r\n") + _TEXT_FOOTER
    return htmls, texts


def fields(link: str, mail: str, theirs: frozenset[str]) -> list[tuple[str, str]]:
    """The header fields of RFC 2369 and RFC 8058; none where the customer has one (`theirs`, lower-case names).

    The link, then the address `mail`, for clients that rather write ('' names none). One click needs https
    (RFC 8058 §3.1); over http there is no such promise.
    """
    if LIST_UNSUBSCRIBE.lower() in theirs:
        return []
    ways = [link, *([f"mailto:{mail}?subject=unsubscribe"] if mail else [])]
    found = [(LIST_UNSUBSCRIBE, ", ".join(f"<{way}>" for way in ways))]
    if link.startswith("https://") and LIST_UNSUBSCRIBE_POST.lower() not in theirs:
        found.append((LIST_UNSUBSCRIBE_POST, _ONE_CLICK))
    return found


def list_field(list_id: int, domain: str, theirs: frozenset[str]) -> list[tuple[str, str]]:
    """The field that names the list (RFC 2919 §2), the same in every message to it."""
    return [] if LIST_ID.lower() in theirs else [(LIST_ID, f"<list-{list_id}.{domain}>")]
