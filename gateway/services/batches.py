"""What is known of a claimed batch before anything of it is sent: its messages, and who must not be written to."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gateway import clock
from gateway.services import rendering, senders, suppressions
from gateway.services.lanes import Claimed
from models import database as db
from models.vocabulary import DeliveryState, EventKind

Blocked = dict[int, suppressions.Suppressed]
"""Why not, by delivery."""

_log = logging.getLogger("commandpost.deliver")


def stored(claimed: list[Claimed]) -> dict[int, rendering.Stored]:
    """The messages of the batch; one that cannot be read is left out and does not keep the others."""
    wanted = list(dict.fromkeys(row.message_id for row in claimed))
    try:
        return rendering.load(wanted)
    except db.StoreUnavailable:
        raise
    except Exception:
        _log.exception("batch_not_read", extra={"messages": len(wanted)})
    found: dict[int, rendering.Stored] = {}
    for message_id in wanted:
        try:
            found |= rendering.load([message_id])
        except db.StoreUnavailable:
            raise
        except Exception:
            _log.exception("message_not_read", extra={"message_id": message_id})
    return found


def blocked(claimed: list[Claimed], messages: Mapping[int, rendering.Stored]) -> Blocked:
    """Suppressed recipients of the batch: the lists may have changed since they were accepted."""
    asked: dict[tuple[int, int, int], list[Claimed]] = {}
    for row in claimed:
        message = messages.get(row.message_id)
        list_id = message.list_id if message is not None else 0
        asked.setdefault((row.account_id, row.domain_id, list_id), []).append(row)
    found: Blocked = {}
    for (account_id, domain_id, list_id), rows in asked.items():
        why = suppressions.check(
            None,
            account_id=account_id,
            domain_id=domain_id,
            addresses=[row.rcpt for row in rows],
            list_id=list_id,
        )
        found |= {row.id: why[row.rcpt] for row in rows if row.rcpt in why}
    return found


def refusal(
    row: Claimed,
    sender: senders.Sender | None,
    suppressed: Blocked,
) -> tuple[DeliveryState, EventKind, dict[str, object]] | None:
    """Why a claimed delivery is not tried at all, as the arguments of `outcomes.settle`."""
    if sender is None or sender.deleted:
        return DeliveryState.CANCELED, EventKind.CANCELED, {"reason": "the sender domain was deleted"}
    why = suppressed.get(row.id)
    if why is not None:
        return DeliveryState.SUPPRESSED, EventKind.SUPPRESSED, {"reason": why.reason, "detail": why.detail}
    if row.was is DeliveryState.HELD or (row.attempts and row.expires_ms < clock.now_ms()):
        return DeliveryState.FAILED, EventKind.FAILED, {"reason": "its time was used up"}
    return None
