"""The signed end of the audit log: where its chain begins and ends, under a key made from the installation's secret."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway import config, ids, vault
from gateway.services.audit_entries import GENESIS
from models import database as db
from models.database import Transaction

_PURPOSE = "audit head"
_COLUMNS = "first_seq, first_hash, last_seq, last_hash, at_ms, signature"
_log = logging.getLogger("commandpost.audit")


@dataclass(frozen=True, slots=True)
class Head:
    """`first_*` are of the last entry that was taken out for its age, `last_*` of the newest in the chain."""

    first_seq: int = 0
    first_hash: str = GENESIS
    last_seq: int = 0
    last_hash: str = GENESIS
    at_ms: int = 0
    signature: str = ""

    @property
    def signed(self) -> bytes:
        """What the signature covers."""
        return "\n".join(
            ("commandpost-audit-head", *map(str, (self.first_seq, self.first_hash, self.last_seq, self.last_hash)),
             str(self.at_ms))
        ).encode()  # fmt: skip

    @property
    def is_signed(self) -> bool:
        """Whether a key of a current secret has signed it."""
        try:
            signature = bytes.fromhex(self.signature)
        except ValueError:
            return False
        for key in _keys(tuple(vault.seeds(_PURPOSE))):
            with contextlib.suppress(InvalidSignature):
                key.public_key().verify(signature, self.signed)
                return True
        return False


@functools.lru_cache(maxsize=8)
def _keys(seeds: tuple[bytes, ...]) -> tuple[Ed25519PrivateKey, ...]:
    return tuple(Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds)


def sign(data: bytes) -> str:
    """Hex Ed25519 signature of the newest secret's key."""
    return _keys(tuple(vault.seeds(_PURPOSE)))[0].sign(data).hex()


def public_key() -> str:
    """The 32 bytes (RFC 8032) in hex that check what `sign` makes now."""
    key = _keys(tuple(vault.seeds(_PURPOSE)))[0].public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def read() -> Head | None:
    rows = db.rows(f"SELECT {_COLUMNS} FROM audit_head WHERE id = 1")
    return Head(*rows[0]) if rows else None


def locked(tx: Transaction) -> Head:
    """The head, held until the commit: whoever changes the chain does so alone."""
    ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
    lock = "" if tx.dialect == "sqlite" else " FOR UPDATE"
    rows = tx.rows(f"SELECT {_COLUMNS} FROM audit_head WHERE id = 1{lock}")
    if not rows:
        made = Head()
        tx.execute(
            f"{ignore} INTO audit_head (id, {_COLUMNS}) VALUES (1, ?, ?, ?, ?, ?, ?)",
            (made.first_seq, made.first_hash, made.last_seq, made.last_hash, made.at_ms, sign(made.signed)),
        )
        rows = tx.rows(f"SELECT {_COLUMNS} FROM audit_head WHERE id = 1{lock}")
    return Head(*rows[0])


def write(tx: Transaction, head: Head) -> None:
    tx.execute(
        "UPDATE audit_head SET first_seq = ?, first_hash = ?, last_seq = ?, last_hash = ?, at_ms = ?, signature = ?"
        " WHERE id = 1",
        (head.first_seq, head.first_hash, head.last_seq, head.last_hash, head.at_ms, sign(head.signed)),
    )


def copy_path() -> Path:
    return config.settings().data / "audit" / "head.json"


def remember() -> None:
    """Keep the end of the chain in a file of this host too: an old database put back in place does not match it.

    The copy only ever moves on from an entry that the chain still has.
    """
    kept = remembered()
    head = read()  # after the copy: whatever that says was committed before
    if head is None or (kept is None and not head.last_seq) or kept == (head.last_seq, head.last_hash):
        return
    if kept is not None and disagrees(kept, head):
        if _Told.copy != kept:
            _Told.copy = kept
            _log.error("audit_log_is_not_what_it_was", extra={"sequence": kept[0], "file": str(copy_path())})
        return
    path = copy_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{ids.token(8)}")
    new.write_bytes(orjson.dumps({"sequence": head.last_seq, "hash": head.last_hash}))
    os.replace(new, path)


class _Told:
    """The copy that this process has complained about."""

    copy: tuple[int, str] | None = None


def disagrees(kept: tuple[int, str], head: Head) -> bool:
    """Whether the log, whose end is `head`, lacks what this host has seen in it."""
    seq, hash_ = kept
    if seq > head.last_seq:
        return True
    if seq <= head.first_seq:  # taken out for its age since then
        return seq == head.first_seq and hash_ != head.first_hash
    found = db.rows("SELECT hash FROM audit_entry WHERE seq = ?", (seq,))
    return not found or found[0][0] != hash_


def remembered() -> tuple[int, str] | None:
    """Sequence and hash of this host's copy; None where there is none that can be read."""
    try:
        found = orjson.loads(copy_path().read_bytes())
        return int(found["sequence"]), str(found["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
