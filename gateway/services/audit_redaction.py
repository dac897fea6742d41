"""What of a change may stand in the audit log: never a secret, and no recipient by address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway import vault

REDACTED = "[redacted]"

_TEXT_MOST = 2000
_ITEMS_MOST = 200
_DEPTH = 8
_NAMES = re.compile(
    r"secret|passw|token|credential|private|sealed|signing_?key|api_?key|access_?key|authorization|cookie|session"
    r"|fingerprint|hash\Z|\Akey\Z|tfa|otp|\Apin\Z",
    re.IGNORECASE,
)
_SECRETS = re.compile(
    r"whsec_[A-Za-z0-9+/=_-]+"
    r"|\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{8}){3}\b"  # sender keys of the command API
    r"|\b[a-z]{2,10}_(?:live|test)_[A-Za-z0-9]{8,}"
    r"|\b(?:sk|key|re|SG)[_.-][A-Za-z0-9_.-]{16,}"
    r"|\bAKIA[0-9A-Z]{12,}"
    r"|-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)"
    r"|\b(?:Bearer|Basic) [A-Za-z0-9+/=._~-]{8,}",
    re.DOTALL,
)
_USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SEGMENT = re.compile(r"(?<=/)[A-Za-z0-9_-]{20,}(?=[/?#\s]|\Z)")
_QUERY = re.compile(r"(\?)[^#\s]+")


def redacted(value: Any, depth: int = 0) -> Any:
    """The value without what its name or its form shows to be secret, and no longer than a person reads."""
    if depth > _DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(name): REDACTED if _NAMES.search(str(name)) and item else redacted(item, depth + 1)
            for name, item in list(value.items())[:_ITEMS_MOST]
        }
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [redacted(item, depth + 1) for item in list(items)[:_ITEMS_MOST]]
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool | int):
        return value
    return text(str(value))


def text(value: str) -> str:
    """A text without secrets of known forms; a URL without its user, its query and long words of its path."""
    clean = _SECRETS.sub(REDACTED, value.replace("\0", ""))
    if "://" in clean:
        clean = _QUERY.sub(rf"\g<1>{REDACTED}", _SEGMENT.sub(REDACTED, _USERINFO.sub(REDACTED, clean)))
    clean = clean.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= _TEXT_MOST else clean[:_TEXT_MOST] + "…"


def person(account_id: int, address: str) -> str:
    """A recipient's pseudonym: entries cannot be changed when a person asks to be erased."""
    mac = vault.sign("audit person", f"{account_id}:{address.strip().lower()}".encode(), 12)
    return f"person:{mac.hex()}"
