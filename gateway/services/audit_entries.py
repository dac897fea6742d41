"""Entries of the audit log: as they are shown, and the bytes of that which the chain is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, ids, vault
from models.database import Transaction
from models.vocabulary import AuditKind

COLUMNS = (
    "id, seq, uuid, account_id, at_ms, kind, actor, key_id, key_prefix, door, action, object, ip, request_id, result,"
    " status, code, data, hash, mac"
)
FOREIGN = "foreign"
"""Stands for the hash of an entry that waits for a place and was put there by somebody else."""
GENESIS = "0" * 64
"""Stands for the hash before the first entry."""

PREFIX = "aud"
_PURPOSE = "audit entry"
_MAC_LENGTH = 16


@dataclass(slots=True)
class Entry:
    """One row of `audit_entry`; `seq` None: it has no place in the chain yet."""

    id: int
    seq: int | None
    uuid: UUID
    account_id: int
    at_ms: int
    kind: int
    actor: str
    key_id: int | None
    key_prefix: str
    door: str
    action: str
    object: str
    ip: str
    request_id: str
    result: str
    status: int | None
    code: str
    data: str | None
    hash: str
    mac: str

    @classmethod
    def of(cls, row: Sequence[Any]) -> Entry:
        """Of a row of `COLUMNS`."""
        return cls(row[0], row[1], UUID(bytes=bytes(row[2])), *row[3:])


def shown(entry: Entry, previous_hash: str) -> dict[str, Any]:
    """The entry as every door shows it, less its hash and signature: exactly what the hash is made of."""
    data = orjson.loads(entry.data) if entry.data else {}
    has_key = entry.key_id is not None or bool(entry.key_prefix)
    return {
        "id": ids.public_id(PREFIX, entry.uuid),
        "sequence": entry.seq,
        "created_at": moment(entry.at_ms),
        "account_id": entry.account_id,
        "kind": AuditKind(entry.kind).word,
        "actor": entry.actor,
        "key": {"id": entry.key_id, "prefix": entry.key_prefix} if has_key else None,
        "door": entry.door,
        "action": entry.action,
        "object": entry.object,
        "ip": entry.ip,
        "request_id": entry.request_id,
        "result": entry.result,
        "status": entry.status,
        "code": entry.code,
        "before": data.get("before"),
        "after": data.get("after"),
        "previous_hash": previous_hash,
    }


def moment(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return f"{clock.from_ms(ms):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def digest(entry: Entry, previous_hash: str) -> str:
    """Hex SHA-256 of the entry as JSON: names sorted, without spaces, UTF-8."""
    return hashlib.sha256(orjson.dumps(shown(entry, previous_hash), option=orjson.OPT_SORT_KEYS)).hexdigest()


def insert(tx: Transaction, entries: Sequence[Entry]) -> None:
    """Write entries that have no row yet."""
    if not entries:
        return
    values: list[Any] = []
    for one in entries:
        values += (
            one.seq, one.uuid.bytes, one.account_id, one.at_ms, one.kind, one.actor, one.key_id, one.key_prefix,
            one.door, one.action, one.object, one.ip, one.request_id, one.result, one.status, one.code, one.data,
            one.hash, one.mac,
        )  # fmt: skip
    names = COLUMNS.partition(", ")[2]
    marks = "(" + ", ".join("?" * len(names.split(","))) + ")"
    tx.execute(f"INSERT INTO audit_entry ({names}) VALUES {', '.join([marks] * len(entries))}", values)


def provisional(entry: Entry) -> str:
    """The mark of an entry that waits for its place: what somebody else put there has none."""
    return seal(digest(entry, ""))


def is_ours(entry: Entry) -> bool:
    """Whether an entry that waits for its place bears its mark."""
    return _is_mac(entry.mac, digest(entry, ""))


def seal(hash_: str) -> str:
    """What only the holder of the installation's secret can make of the hash."""
    return vault.sign(_PURPOSE, hash_.encode(), _MAC_LENGTH).hex()


def is_sealed(entry: Entry) -> bool:
    """Whether the entry's hash was put there by us."""
    return _is_mac(entry.mac, entry.hash)


def _is_mac(text: str, hash_: str) -> bool:
    try:
        mac = bytes.fromhex(text)
    except ValueError:
        return False
    return len(mac) == _MAC_LENGTH and vault.check(_PURPOSE, hash_.encode(), mac)
