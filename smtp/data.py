"""The message content of a DATA command, from the wire to clean CRLF lines."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from gateway import errors

_END = b"\r\n.\r\n"
_DISCARDED = 4  # times the limit that a client may go on sending before it is cut off
_BARE_LF = re.compile(rb"(?<!\r)\n")


async def read(reader: asyncio.StreamReader, limit: int, alive: Callable[[], None], keep: int | None = None) -> bytes:
    """The raw content up to the one end of data there is, CRLF.CRLF (RFC 5321 §4.1.1.4), dots still doubled.

    What the client has pipelined behind it goes back to the reader. `alive` is called for every chunk.
    Of more than `keep` bytes only those are kept.
    Raises `TooLarge` after all was read and thrown away, `ConnectionResetError` when the client goes away
    or does not come to an end.
    """
    found = bytearray(b"\r\n")  # the CRLF of the DATA command counts for the end of data, too
    received = 0
    kept = b""
    while True:
        # Everything buffered is taken at once, so that feed_data() below puts the rest back in order.
        chunk = await reader.read(1 << 30)
        if not chunk:
            raise ConnectionResetError("the client went away during DATA")
        alive()
        received += len(chunk)
        start = max(0, len(found) - len(_END) + 1)
        found += chunk
        end = found.find(_END, start)
        if end >= 0:
            rest = bytes(found[end + len(_END) :])
            if rest:
                reader.feed_data(rest)
            received -= len(rest) + 3
            break
        if keep is not None and not kept and len(found) >= keep + 2:
            kept = bytes(found[2 : keep + 2])
        if received > limit or kept:
            del found[: -len(_END) + 1]
            if received > limit * _DISCARDED:
                raise ConnectionResetError("the client sends without end")
    if received > limit:
        raise errors.TooLarge(f"The message has {received} bytes; {limit} are allowed.")
    return kept or bytes(found[2 : end + 2])[:keep]


def tidy(content: bytes) -> bytes:
    """The content without dot-stuffing (RFC 5321 §4.5.2), every line ended by CRLF.

    A bare LF becomes CRLF: on the way out such a line is dot-stuffed like any other, so nothing can be
    smuggled through it. Raises `Invalid` for a bare CR and NUL, which no line may hold (RFC 5321 §2.3.8).
    """
    if b"\0" in content:
        raise errors.Invalid("The message contains NUL.")
    if content.startswith(b"."):
        content = content[1:]
    content = content.replace(b"\r\n.", b"\r\n")
    if content.count(b"\r") != content.count(b"\r\n"):
        raise errors.Invalid("The message contains a bare CR.")
    if content.count(b"\n") != content.count(b"\r\n"):
        content = _BARE_LF.sub(b"\r\n", content)
    return content
