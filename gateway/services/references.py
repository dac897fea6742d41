"""Rows of an account that a request names by a public id, a UUID or a number."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from gateway import errors, ids
from models import database as db

_NUMBER_MOST = 18


def number(account_id: int, text: Any, *, prefixes: tuple[str, ...], table: str, field: str) -> int:
    """The number of the account's row; raises `InvalidFields` naming `field` where there is none."""
    noun = table.removeprefix("mail_")
    shown = str(text)[:64]
    for column, value in _keys(text, prefixes):
        rows = db.rows(
            f"SELECT id FROM {table} WHERE {column} = ? AND account_id = ?{_LIVE.get(table, '')}", (value, account_id)
        )
        if rows:
            return int(rows[0][0])
    raise errors.InvalidFields(
        f"{field}: There is no {noun} {shown}.", fields=[{"field": field, "message": f"There is no {noun} {shown}."}]
    )


_LIVE = {"mail_list": " AND deleted_ms IS NULL"}


def _keys(text: Any, prefixes: tuple[str, ...]) -> list[tuple[str, Any]]:
    if isinstance(text, int) and not isinstance(text, bool):
        return [("id", text)] if 0 < text < 2**63 else []
    if not isinstance(text, str):
        return []
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) <= _NUMBER_MOST:
        return [("id", int(text))]
    uuids = {uuid for prefix in prefixes if (uuid := ids.uuid_of(prefix, text)) is not None}
    return [("uuid", uuid.bytes) for uuid in uuids]


def uuids(table: str, numbers: set[int]) -> dict[int, UUID]:
    """To show what rows refer to."""
    if not numbers:
        return {}
    marks = ",".join("?" * len(numbers))
    return {
        int(row_id): UUID(bytes=bytes(uuid))
        for row_id, uuid in db.rows(f"SELECT id, uuid FROM {table} WHERE id IN ({marks})", sorted(numbers))
    }


def audiences(numbers: set[int]) -> dict[int, tuple[str, str]]:
    """Of lists and segments the name of their field (`list_id`, `segment_id`) and their public id."""
    return {number: ("list_id", ids.public_id("lst", uuid)) for number, uuid in uuids("mail_list", numbers).items()}
