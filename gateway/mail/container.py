"""The parts of a draft in one compact row, as they were sent."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import orjson

from gateway.mail.draft import Attachment

_MAGIC = b"CP1\n"
_LENGTH = struct.Struct(">I")


def serialise(html: str | None, text: str | None, attachments: Sequence[Attachment] = ()) -> bytes:
    """What `compose.build_body` needs: four bytes of magic, the length of a JSON index, the index, the parts."""
    blobs: list[bytes] = []
    index: dict[str, object] = {}
    for name, value in (("html", html), ("text", text)):
        if value is not None:
            blobs.append(value.encode("utf-8", "replace"))
            index[name] = len(blobs[-1])
    if attachments:
        index["parts"] = [
            [part.filename, part.content_type, len(part.content), part.inline, part.content_id] for part in attachments
        ]
        blobs += [part.content for part in attachments]
    head = orjson.dumps(index)
    return b"".join([_MAGIC, _LENGTH.pack(len(head)), head, *blobs])


def deserialise(data: bytes) -> tuple[str | None, str | None, list[Attachment]]:
    """The html, text and attachments that `serialise` was given; raises `ValueError` on anything else."""
    start = len(_MAGIC) + _LENGTH.size
    if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
        raise ValueError("not a container of message parts")
    end = start + _LENGTH.unpack_from(data, len(_MAGIC))[0]
    if end > len(data):
        raise ValueError("the container of message parts is cut off")
    index = orjson.loads(data[start:end])
    view = memoryview(data)

    def take(size: int) -> bytes:
        nonlocal end
        piece = bytes(view[end : end + size])
        if len(piece) != size:
            raise ValueError("the container of message parts is cut off")
        end += size
        return piece

    texts = [take(index[name]).decode() if name in index else None for name in ("html", "text")]
    attachments = [
        Attachment(filename, content_type, take(size), inline, content_id)
        for filename, content_type, size, inline, content_id in index.get("parts", ())
    ]
    return texts[0], texts[1], attachments
