"""Who would be left without a list if it were deleted: scheduled campaigns, and automations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import orjson

from gateway import errors, ids
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import CAMPAIGN_SCHEDULED

_NAMED_MOST = 5


def must_be_free(tx: db.Transaction, *, caller: Caller, list_ids: Collection[int]) -> None:
    """Raise `ListInUse` where a campaign that is scheduled goes to one of the lists, or an automation names one.

    Drafts do not count: they go to nobody by themselves, and are told at their launch. What is being sent has its
    message already, which goes to all of the list whatever becomes of it.
    """
    found = [*_campaigns(tx, caller, list_ids), *_automations(tx, caller, list_ids)]
    if not found:
        return
    seen = [told for told, domain_id in found if caller.domain_id in (None, domain_id)]
    words = [f"the {one['type']} {one['name']} ({one['id']})" for one in seen[:_NAMED_MOST]]
    if len(found) > len(words):
        words.append(f"{len(found) - len(words)} more" if words else "a campaign or automation of another domain")
    raise errors.ListInUse(f"The list or segment is used by {', '.join(words)}.", used_by=seen)


def _told(kind: str, uuid: Any, name: str) -> dict[str, str]:
    prefix = "cmp" if kind == "campaign" else "aut"
    return {"type": kind, "id": ids.public_id(prefix, UUID(bytes=bytes(uuid))), "name": name}


def _campaigns(
    tx: db.Transaction, caller: Caller, list_ids: Collection[int]
) -> list[tuple[dict[str, str], int | None]]:
    rows = tx.rows(
        "SELECT uuid, name, domain_id FROM campaign WHERE account_id = ? AND state = ? AND deleted_ms IS NULL"
        f" AND list_id IN ({','.join('?' * len(list_ids))}) ORDER BY id",
        (caller.account_id, CAMPAIGN_SCHEDULED, *list_ids),
    )
    return [(_told("campaign", uuid, name), domain_id) for uuid, name, domain_id in rows]


def _automations(
    tx: db.Transaction, caller: Caller, list_ids: Collection[int]
) -> list[tuple[dict[str, str], int | None]]:
    """Paused ones as well: resumed, they would start nothing and say nothing of it."""
    rows = tx.rows(
        "SELECT a.uuid, a.name, a.domain_id, a.`trigger`, v.program FROM automation a"
        " JOIN automation_version v ON v.automation_id = a.id AND v.version = a.version"
        " WHERE a.account_id = ? AND a.deleted_ms IS NULL ORDER BY a.id",
        (caller.account_id,),
    )
    return [
        (_told("automation", uuid, name), domain_id)
        for uuid, name, domain_id, trigger, program in rows
        if any(_names(part, list_ids) for part in (orjson.loads(trigger), *orjson.loads(program)))
    ]


def _names(part: Mapping[str, Any], list_ids: Collection[int]) -> bool:
    return part.get("list_id") in list_ids
