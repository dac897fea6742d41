"""The addresses of a send: `From`, `To`, `CC`, `BCC` and `ReplyTo` as clients write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commands.sending import codes
from commands.sending.faults import Faults, line_fault
from gateway import errors
from gateway.mail import address
from gateway.mail.draft import Mailbox

_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Numbers:
    """The document's errors of one list of addresses; `array` None: one object or text is a list of one."""

    name: str
    missing: int
    invalid: int
    count: int
    array: int | None = None
    count_text: str | None = None


TO = Numbers("To", codes.TO_MISSING, codes.TO_INVALID, codes.TO_COUNT, count_text=codes.TO_TOO_MANY_TEXT)
CC = Numbers("CC", codes.CC_MISSING, codes.CC_INVALID, codes.CC_COUNT)
BCC = Numbers("BCC", codes.BCC_MISSING, codes.BCC_INVALID, codes.BCC_COUNT, codes.BCC_ARRAY)
REPLY_TO = Numbers("ReplyTo", codes.REPLY_MISSING, codes.REPLY_INVALID, codes.REPLY_COUNT, codes.REPLY_ARRAY)


def empty(value: Any) -> bool:
    """Whether a value counts as not sent: null, empty or blank text, an empty list or object."""
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})


def read_list(value: Any, numbers: Numbers, limit: int, faults: Faults, *, strict: bool) -> list[Mailbox]:
    """The mailboxes of one list; what is wrong goes to `faults` once per kind. More than `limit` are not looked at."""
    if empty(value):
        return []
    if not isinstance(value, list):
        if numbers.array is not None:
            faults.add(numbers.array)
            return []
        if not isinstance(value, dict | str):
            faults.other(f"{numbers.name} should be a list of objects with email and name.")
            return []
        value = [value]
    if len(value) > limit:
        faults.add(numbers.count, numbers.count_text)
        return []
    found = []
    for item in value:
        mailbox = _mailbox(item, numbers, faults, strict)
        if mailbox is not None:
            found.append(mailbox)
    return found


def _mailbox(item: Any, numbers: Numbers, faults: Faults, strict: bool) -> Mailbox | None:
    try:
        if isinstance(item, dict):
            email: Any = item.get("email")
            name: Any = item.get("name")
            if empty(email) or (strict and empty(name)):
                faults.add(numbers.missing)
                return None
            if name is None:
                return Mailbox(address.check(email))
            if not isinstance(name, str):
                faults.other(f"A name in {numbers.name} should be text.")
                return None
            fault = line_fault(name, _NAME_LENGTH)
            if fault is not None:
                faults.other(f"A name in {numbers.name} {fault}")
                return None
            return Mailbox(address.check(email), name.strip())
        if empty(item):
            faults.add(numbers.missing)
            return None
        mailbox = _plain(item)
        if strict and not mailbox.name:
            faults.add(numbers.missing)
            return None
    except errors.Invalid:
        faults.add(numbers.invalid)
        return None
    return mailbox


def _plain(text: Any) -> Mailbox:
    """One address as text, with or without a name; raises `Invalid`."""
    if not isinstance(text, str) or line_fault(text, 2 * _NAME_LENGTH) is not None:
        raise errors.Invalid("An address is one line of text.")
    return address.parse_mailbox(text)


def read_from(value: Any, sender_name: str | None, faults: Faults, *, strict: bool) -> Mailbox | None:
    """The header from: of `sender_name`, the key's domain, or below it. Everything that is wrong with it is code 3.

    `sender_name` None: the key told no domain, so the address is only checked for its form.
    """
    try:
        if isinstance(value, Mapping):
            name: Any = "" if value.get("name") is None else value["name"]
            email: Any = value.get("email")
            if not isinstance(name, str) or line_fault(name, _NAME_LENGTH) is not None:
                raise errors.Invalid("The name is not one line of text.")
            mailbox = Mailbox(address.check(email), name.strip())
        else:
            mailbox = _plain(value)
        if strict and not mailbox.name:
            raise errors.Invalid("The name is missing.")
        if sender_name is not None and not address.same_or_subdomain(mailbox.domain, sender_name):
            raise errors.Invalid("The address does not belong to the sender domain.")
    except errors.Invalid:
        faults.add(codes.FROM)
        return None
    return mailbox
