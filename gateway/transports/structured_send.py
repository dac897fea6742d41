"""What APIs that take no MIME have in common: a message taken apart, to its one recipient and nobody else."""

from __future__ import annotations

from collections.abc import Collection

from gateway.mail.structured import Structured, take_apart, unsupported
from gateway.transports.provider import Parcel
from gateway.transports.submittable import on_the_wire


def opened(parcel: Parcel, *, forbidden: Collection[str] = ()) -> Structured:
    """The parts of a message for an API that delivers to whom it shows; raises `Unsupported`.

    To must be the recipient alone, for everybody else it named would get the message again; a message that shows
    nobody shows its recipient. Header fields are an object there, so none may stand twice, nor any of `forbidden`.
    """
    found = take_apart(parcel.message)
    if found.cc or len(found.to) > 1 or any(_folded(box.email) != _folded(parcel.rcpt) for box in found.to):
        unsupported("to deliver to one recipient and show others in To or Cc")
    if not found.subject:
        unsupported("a message without a subject")
    if not found.sender.email.isascii() or any(not box.email.isascii() for box in found.reply_to):
        unsupported("an address that is not ASCII")
    seen: set[str] = set()
    for name, _ in found.headers:
        low = name.lower()
        if low in seen:
            unsupported(f"the field {name} twice")
        if low in forbidden:
            unsupported(f"the field {name}")
        seen.add(low)
    return found


def _folded(address: str) -> str:
    return on_the_wire(address).lower()
