"""Bodies of messages: stored once in parts that no database minds, read back whole."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from gateway import clock
from models import database as db
from models import many_rows
from models.message import PART_SIZE
from models.vocabulary import Codec

PACK_FROM = 8 * 1024
"""Bytes from which packing is worth its time; a smaller body fits two database pages."""

_SHARED_MS = 600_000
_SHARED_MAX = 512
_recent: OrderedDict[tuple[int, str], tuple[int, int]] = OrderedDict()
_lock = threading.Lock()


class Prepared:
    """A body ready to be stored, packed outside the transaction."""

    __slots__ = ("account_id", "codec", "digest", "kind", "packed", "size", "stored_id")

    def __init__(self, account_id: int, kind: str, body: bytes) -> None:
        self.account_id = account_id
        self.kind = kind
        self.size = len(body)
        self.digest = hashlib.sha256(kind.encode() + b"\0" + body).hexdigest()
        self.codec = Codec.ZLIB if self.size >= PACK_FROM else Codec.RAW
        self.packed = zlib.compress(body, 1) if self.codec is Codec.ZLIB else body
        self.stored_id = _shared(account_id, self.digest)


def _shared(account_id: int, digest: str) -> int | None:
    """The content that this process stored for the same account and bytes a moment ago."""
    with _lock:
        found = _recent.get((account_id, digest))
    return found[0] if found and clock.now_ms() - found[1] < _SHARED_MS else None


def prepare(account_id: int, kind: str, body: bytes) -> Prepared:
    """Pack `body` and, when it is larger than one part, store it ahead in short transactions of its own.

    A body that no message refers to within an hour is collected by `collect`.
    """
    prepared = Prepared(account_id, kind, body)
    if prepared.stored_id is None and len(prepared.packed) > PART_SIZE:
        prepared.stored_id = store_ahead(prepared)
    return prepared


def store_ahead(prepared: Prepared) -> int:
    """Store a body of any size part by part in short transactions; its id."""
    content_id: int = db.in_transaction(lambda tx: _insert_content(tx, prepared))
    for seq, start in enumerate(range(0, len(prepared.packed), PART_SIZE)):
        part = prepared.packed[start : start + PART_SIZE]
        db.in_transaction(lambda tx, seq=seq, part=part: _insert_part(tx, content_id, seq, part))  # type: ignore[misc]
    return content_id


def _insert_content(tx: db.Transaction, prepared: Prepared) -> int:
    cursor = tx.execute(
        "INSERT INTO content (kind, size, codec, sha256, created_ms) VALUES (?, ?, ?, ?, ?)",
        (prepared.kind, prepared.size, int(prepared.codec), prepared.digest, clock.now_ms()),
    )
    return int(cursor.lastrowid)


def _insert_part(tx: db.Transaction, content_id: int, seq: int, part: bytes) -> None:
    tx.execute("INSERT INTO content_part (content_id, seq, body) VALUES (?, ?, ?)", (content_id, seq, part))


def store(tx: db.Transaction, prepared: Prepared) -> int:
    """The id of the stored body; writes it when it is small and new."""
    if prepared.stored_id is not None:
        return prepared.stored_id
    content_id = _insert_content(tx, prepared)
    _insert_part(tx, content_id, 0, prepared.packed)
    tx.after_commit(lambda: _remember(prepared, content_id), key=("content", content_id))
    return content_id


def store_some_ahead(some: Sequence[Prepared]) -> None:
    """Store small bodies in a transaction of their own, ahead of the one that refers to them."""
    found = db.in_transaction(lambda tx: store_many(tx, some))
    for prepared in some:
        prepared.stored_id = found[prepared.digest]


def store_many(tx: db.Transaction, some: Sequence[Prepared]) -> dict[str, int]:
    """The ids of the stored bodies by digest; writes each that is small and new, once."""
    found = {prepared.digest: prepared.stored_id for prepared in some if prepared.stored_id is not None}
    fresh = list({prepared.digest: prepared for prepared in some if prepared.digest not in found}.values())
    now = clock.now_ms()
    ids = many_rows.insert(
        tx,
        "content",
        ("kind", "size", "codec", "sha256", "created_ms"),
        [(one.kind, one.size, int(one.codec), one.digest, now) for one in fresh],
    )
    many_rows.insert(
        tx,
        "content_part",
        ("content_id", "seq", "body"),
        [(content_id, 0, one.packed) for content_id, one in zip(ids, fresh, strict=True)],
    )
    for content_id, one in zip(ids, fresh, strict=True):
        found[one.digest] = content_id
        tx.after_commit(lambda one=one, content_id=content_id: _remember(one, content_id), key=("content", content_id))  # type: ignore[misc]
    return found


def _remember(prepared: Prepared, content_id: int) -> None:
    with _lock:
        _recent[(prepared.account_id, prepared.digest)] = (content_id, clock.now_ms())
        while len(_recent) > _SHARED_MAX:
            _recent.popitem(last=False)


def forget_recent() -> None:
    """Drop the process's memory of stored bodies (another database was connected)."""
    with _lock:
        _recent.clear()


def load(content_ids: Iterable[int]) -> dict[int, tuple[str, bytes]]:
    """Kind and unpacked body of each content."""
    ids = list(dict.fromkeys(content_ids))
    found: dict[int, tuple[str, int]] = {}
    parts: dict[int, list[bytes]] = {}
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        marks = ",".join("?" * len(some))
        for content_id, kind, codec in db.rows(f"SELECT id, kind, codec FROM content WHERE id IN ({marks})", some):
            found[content_id] = (kind, codec)
        for content_id, body in db.rows(
            f"SELECT content_id, body FROM content_part WHERE content_id IN ({marks}) ORDER BY content_id, seq", some
        ):
            parts.setdefault(content_id, []).append(bytes(body))
    return {
        content_id: (kind, _unpack(codec, b"".join(parts.get(content_id, []))))
        for content_id, (kind, codec) in found.items()
    }


def _unpack(codec: int, packed: bytes) -> bytes:
    return zlib.decompress(packed) if codec == Codec.ZLIB else packed


def release(tx: db.Transaction, content_ids: Sequence[int], *, before_ms: int) -> None:
    """Delete those of the bodies that were made before `before_ms` and that nothing refers to any more."""
    for start in range(0, len(content_ids), 500):
        some = content_ids[start : start + 500]
        rows = tx.rows(
            f"SELECT c.id FROM content c WHERE c.id IN ({','.join('?' * len(some))}) AND c.created_ms < ?"
            " AND NOT EXISTS (SELECT 1 FROM message m WHERE m.content_id = c.id)"
            " AND NOT EXISTS (SELECT 1 FROM captured_mail k WHERE k.content_id = c.id)",
            (*some, before_ms),
        )
        _delete(tx, [content_id for (content_id,) in rows])


def collect(tx: db.Transaction, *, before_ms: int, limit: int = 200) -> int:
    """Delete bodies made before `before_ms` that nothing refers to; returns how many."""
    rows = tx.rows(
        "SELECT c.id FROM content c WHERE c.created_ms < ?"
        " AND NOT EXISTS (SELECT 1 FROM message m WHERE m.content_id = c.id)"
        " AND NOT EXISTS (SELECT 1 FROM captured_mail k WHERE k.content_id = c.id) LIMIT ?",
        (before_ms, limit),
    )
    ids = [content_id for (content_id,) in rows]
    _delete(tx, ids)
    return len(ids)


def _delete(tx: db.Transaction, ids: Sequence[int]) -> None:
    if ids:
        marks = ",".join("?" * len(ids))
        tx.execute(f"DELETE FROM content_part WHERE content_id IN ({marks})", ids)
        tx.execute(f"DELETE FROM content WHERE id IN ({marks})", ids)
