"""Addresses and mailboxes: checked, normalised, listed and printed."""

from __future__ import annotations

import functools
import re

import email_validator
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES

from gateway.errors import Invalid
from gateway.mail import headers
from gateway.mail.draft import Mailbox

# Reserved domains (.test, .local, .invalid) are well-formed: tests and intranets use them, DNS decides the rest.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_LABEL = r"(?!..--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LOCAL = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9_!#$%&'*+/=?^`{|}~-]+(?:\.[A-Za-z0-9_!#$%&'*+/=?^`{|}~-]+)*\Z")
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?!..--)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}})?)?[A-Za-z]\Z")
_USUAL_NAME = re.compile(r"[ !#-+\--:=?-~]*\Z")  # visible ASCII without quotes, commas, semicolons, angle brackets
_CASE_BLIND = frozenset(CASE_INSENSITIVE_MAILBOX_NAMES)
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/?^_`{|}~-]+)*\Z")
_PRINTABLE = re.compile(r"[ -~]*\Z")
_NAME_SIZE = 66


def check(email: str) -> str:
    """The address with a lower-case A-label domain; raises `Invalid`.

    RFC 5321 with internationalised local parts (RFC 6531), no quoted local parts, no address
    literals, a domain with a dot; reserved domains are accepted. Spaces around it are dropped.
    """
    if not isinstance(email, str):
        raise Invalid("An email address is a text.")
    email = email.strip(" ")
    plain = _plain(email)
    if plain:
        return plain
    if len(email) > 254:
        raise Invalid("An email address has at most 254 characters.")
    return _checked(email)


def _plain(email: str) -> str:
    """What `check` makes of letters, digits and signs at a domain of ASCII; empty for whatever else it is."""
    local, _, domain = email.rpartition("@")
    if len(email) > 254 or not _LOCAL.match(local):
        return ""
    domain = _plain_domain(domain)
    if not domain:
        return ""
    return f"{local.lower() if local.lower() in _CASE_BLIND else local}@{domain}"


@functools.lru_cache(maxsize=4096)
def _plain_domain(domain: str) -> str:
    return domain.lower() if _DOMAIN.match(domain) else ""


@functools.lru_cache(maxsize=4096)
def _checked(email: str) -> str:
    try:
        valid = email_validator.validate_email(email, strict=True, check_deliverability=False)
    except (email_validator.EmailNotValidError, UnicodeError) as error:
        raise Invalid(str(error)) from None
    return f"{valid.local_part}@{valid.ascii_domain}"


def check_domain(domain: str) -> str:
    """The domain in lower-case A-labels; raises `Invalid`."""
    return check(f"a@{domain.strip(' ').rstrip('.')}").rpartition("@")[2]


def same_or_subdomain(domain: str, parent: str) -> bool:
    """Whether `domain` is `parent` or lies under it; both in A-labels, case-blind."""
    domain, parent = domain.lower().rstrip("."), parent.lower().rstrip(".")
    return bool(parent) and (domain == parent or domain.endswith("." + parent))


def parse_mailbox(text: str) -> Mailbox:
    """`jane@example.com`, `Jane Doe <jane@example.com>` or `"Doe, Jane" <jane@example.com>`; raises `Invalid`."""
    text = text.strip()
    if not text.endswith(">"):
        return Mailbox(check(text))
    name, _, email = text[:-1].rpartition("<")
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1], flags=re.DOTALL)
    return Mailbox(check(email), headers.one_line(name))


def usual_mailbox(text: str) -> Mailbox | None:
    """What `parse_mailbox` makes of `Jane Doe <jane@example.com>` in plain ASCII; None for whatever else it is."""
    if text[-1:] != ">":
        return None
    name, at, email = text[:-1].rpartition("<")
    if not at or len(name) > _NAME_SIZE or not _USUAL_NAME.match(name) or "  " in name:
        return None
    email = _plain(email)
    return Mailbox(email, name.strip()) if email else None


def parse_list(text: str) -> list[Mailbox]:
    """Mailboxes separated by commas, semicolons or line ends outside quotes and angle brackets; raises `Invalid`."""
    items: list[str] = []
    current: list[str] = []
    quoted = escaped = angled = False
    for character in text:
        if quoted:
            if not escaped and character == '"':
                quoted = False
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted = True
        elif character == "<":
            angled = True
        elif character == ">":
            angled = False
        elif character in ",;\r\n" and not angled:
            items.append("".join(current))
            current = []
            continue
        current.append(character)
    items.append("".join(current))
    return [parse_mailbox(item) for item in items if item.strip()]


def format_mailbox(mailbox: Mailbox) -> str:
    """The mailbox for a header (RFC 5322 §3.4): atoms, a quoted string or encoded words, whatever the name says.

    ASCII unless the local part is internationalised. Never has a line break.
    """
    name = mailbox.name
    if not name:
        return mailbox.email
    if len(name) <= _NAME_SIZE and _ATOMS.match(name) and "=?" not in name:
        return f"{name} <{mailbox.email}>"
    name = headers.one_line(name)
    if not name:
        return mailbox.email
    if len(name) <= _NAME_SIZE and _PRINTABLE.match(name) and "=?" not in name and "  " not in name:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{mailbox.email}>'
    return f"{' '.join(headers.encoded_words(name, 60))} <{mailbox.email}>"
