"""The form in which names of sender domains are kept: lower-case A-labels."""

from __future__ import annotations

import functools
import re

import idna
from publicsuffixlist import PublicSuffixList

from gateway import errors

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


@functools.cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def sender_name(text: str) -> str:
    """`text` as lower-case A-labels (RFC 5890 §2.3.2.1), without a final dot.

    Raises `InvalidDomainName` for what is no name below a public suffix: IP addresses, single
    labels, public suffixes themselves, anything that DNS or IDNA 2008 does not allow.
    """
    try:
        labels = _labels(text.strip().lower())
    except UnicodeError:  # idna's errors are of this class
        raise errors.InvalidDomainName from None
    name = ".".join(labels)
    if len(name) > 253 or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        raise errors.InvalidDomainName
    if _suffixes().privatesuffix(name) is None:
        raise errors.InvalidDomainName("A public suffix cannot be a sender domain")
    return name


def a_labels(domain: str) -> str:
    """Any domain name as lower-case A-labels; raises `UnicodeError` for what IDNA 2008 does not allow."""
    return domain.lower() if domain.isascii() else ".".join(_labels(domain.lower()))


def registrable(host: str) -> str:
    """The part of a host name that somebody registered: `example.co.uk` of `mx1.example.co.uk`; else all of it."""
    name = host.rstrip(".").lower()
    return _suffixes().privatesuffix(name) or name


def label_below(text: str, name: str) -> str:
    """One label of a host directly below `name`, lower-case; the whole host is understood too. Raises `Invalid`."""
    label = text.strip().lower().removesuffix(".").removesuffix(f".{name}")
    if not _LABEL.fullmatch(label) or len(label) + 1 + len(name) > 253:
        raise errors.Invalid(
            f"A subdomain is one label of letters, digits and hyphens below {name}.", field="Subdomain"
        )
    return label


def _labels(text: str) -> list[str]:
    if not text.isascii():
        text = idna.uts46_remap(text, std3_rules=False, transitional=False)
    # Plain ASCII goes past IDNA, which refuses some old but valid host names (`r3---a`).
    return [
        label if label.isascii() and not label.startswith("xn--") else idna.alabel(label).decode("ascii")
        for label in text.removesuffix(".").split(".")
    ]
