"""The people of a message: texts, objects, and lists of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commands.sending.addresses import empty
from commands.sending.faults import line_fault
from gateway import errors
from gateway.mail import address
from gateway.mail.draft import Mailbox
from web.rest.v1.sending.faults import REQUIRED, Faults

_NAME_LENGTH = 255
_TEXT_LENGTH = 100_000  # of many addresses in one text
_PLAIN = "Should be an address, a text of several, or a list of texts and objects of email and name."


def read(field: str, value: Any, most: int, faults: Faults) -> list[Mailbox]:
    """The mailboxes of a field; more than `most` are not looked at."""
    if value.__class__ is str:
        usual = address.usual_mailbox(value)
        if usual is not None:
            return [usual]
        if "," not in value and "\n" not in value and ";" not in value:
            found = _one(field, value, faults) if value.strip() else None
            return [found] if found is not None else []
    if empty(value):
        return []
    if isinstance(value, str):
        return _several(field, value, most, faults)
    items = value if isinstance(value, list) else [value]
    if len(items) > most:
        faults.add(field, f"Should have at most {most} addresses.")
        return []
    boxes = []
    for at, item in enumerate(items):
        box = _one(f"{field}.{at}" if items is value else field, item, faults)
        if box is not None:
            boxes.append(box)
    return boxes


def read_one(field: str, value: Any, faults: Faults) -> Mailbox | None:
    """The one mailbox of a field that has to be there."""
    if empty(value):
        faults.add(field, REQUIRED)
        return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return _one(field, value, faults)


def _one(field: str, item: Any, faults: Faults) -> Mailbox | None:
    try:
        if item.__class__ is str:
            if len(item) <= 2 * _NAME_LENGTH and item.isascii() and item.isprintable() and '"' not in item:
                return _quick(item)
            fault = line_fault(item, 2 * _NAME_LENGTH)
            if fault is None:
                return address.parse_mailbox(item)
            faults.add(field, fault[0].upper() + fault[1:])
            return None
        if not isinstance(item, Mapping):
            faults.add(field, _PLAIN)
            return None
        email, name = item.get("email"), item.get("name")
        if empty(email):
            faults.add(f"{field}.email", REQUIRED)
            return None
        if name is not None and not isinstance(name, str):
            faults.add(f"{field}.name", "Should be a text.")
            return None
        fault = line_fault(name, _NAME_LENGTH) if name else None
        if fault is not None:
            faults.add(f"{field}.name", fault[0].upper() + fault[1:])
            return None
        return Mailbox(address.check(email if isinstance(email, str) else ""), (name or "").strip())
    except errors.Invalid as error:
        faults.add(field, error.message)
        return None


def _quick(text: str) -> Mailbox:
    """One line of visible ASCII without quotes; raises `Invalid`. As `address.parse_mailbox` reads it."""
    text = text.strip()
    if text[-1:] != ">":
        return Mailbox(address.check(text))
    name, _, email = text[:-1].rpartition("<")
    return Mailbox(address.check(email), name.strip())


def _several(field: str, text: str, most: int, faults: Faults) -> list[Mailbox]:
    if len(text) > _TEXT_LENGTH or "\0" in text:
        faults.add(field, f"Should have at most {_TEXT_LENGTH} characters and no NUL.")
        return []
    try:
        found = address.parse_list(text)
    except errors.Invalid as error:
        faults.add(field, error.message)
        return []
    if len(found) > most:
        faults.add(field, f"Should have at most {most} addresses.")
        return []
    return found
