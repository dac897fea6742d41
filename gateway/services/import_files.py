"""The bytes of a file of subscribers: made UTF-8, cut into pieces, kept and read again from any place."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from gateway import errors
from models import database as db
from models.message import PART_SIZE

_LATIN = "latin-1"
_C1 = {code: bytes((code,)).decode("cp1252", "ignore") or chr(code) for code in range(0x80, 0xA0)}
"""What calls itself ISO-8859-1 has the quotes and the euro sign of windows-1252 where the standard has controls."""

_ENCODINGS = {
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8",
    "ascii": "utf-8",
    "iso8859-1": _LATIN,
    "cp1252": _LATIN,
    "iso8859-15": "iso8859-15",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
}
"""By the name that Python has for an encoding."""


def utf8(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The bytes in UTF-8; what claims to be so already is judged row by row."""
    try:
        name = _ENCODINGS.get(codecs.lookup(encoding.strip() or "utf-8").name)
    except (LookupError, ValueError):
        name = None
    if name is None:
        words = "UTF-8, ISO-8859-1, ISO-8859-15, windows-1252, UTF-16"
        raise errors.Invalid(f"The encoding should be one of {words}.", field="encoding")
    if name == "utf-8":
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder(name)()
    try:
        for piece in pieces:
            text = decoder.decode(piece)
            yield (text.translate(_C1) if name == _LATIN else text).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError:
        raise errors.Invalid("The file does not have the encoding that was announced.", field="encoding") from None


def in_pieces(chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """In pieces of the size of a row, not more than `most` bytes in all."""
    held, size = bytearray(), 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise errors.TooLarge(f"The file has more than {most} bytes.", field="file", limit=most)
        held += chunk
        while len(held) >= PART_SIZE:
            yield bytes(held[:PART_SIZE])
            del held[:PART_SIZE]
    if held:
        yield bytes(held)


def keep(import_id: int, seq: int, body: bytes) -> int:
    db.in_transaction(
        lambda tx: tx.execute(
            "INSERT INTO list_import_part (import_id, seq, body) VALUES (?, ?, ?)", (import_id, seq, body)
        )
    )
    return len(body)


def stored(import_id: int, at: int) -> Iterator[bytes]:
    seq, skip = divmod(at, PART_SIZE)  # all pieces but the last have that size
    while True:
        found = db.rows("SELECT body FROM list_import_part WHERE import_id = ? AND seq = ?", (import_id, seq))
        if not found:
            return
        yield bytes(found[0][0])[skip:]
        seq, skip = seq + 1, 0


def delete(import_id: int) -> None:
    """One in a transaction: each is half a megabyte."""
    for (seq,) in db.rows("SELECT seq FROM list_import_part WHERE import_id = ?", (import_id,)):
        db.in_transaction(
            lambda tx, seq=seq: tx.execute(  # type: ignore[misc]
                "DELETE FROM list_import_part WHERE import_id = ? AND seq = ?", (import_id, seq)
            )
        )
