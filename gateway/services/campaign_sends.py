"""Campaign sends: one message for each recipient in one transaction, under one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from gateway import clock, errors, ids
from gateway.mail.draft import Draft
from gateway.services import bulk, idempotency, reach
from gateway.services.bulk import Item, Replayed, Result
from gateway.services.identity import Caller
from gateway.services.messages import Accepted
from models import database as db


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of it: the messages that were accepted, who is suppressed, and who was refused otherwise."""

    batch: UUID
    accepted: list[Accepted]
    blocked: list[str]
    failed: list[tuple[str, errors.GatewayError]]

    @property
    def batch_id(self) -> str:
        return ids.public_id(reach.BATCH_PREFIX, self.batch)


def send(
    *,
    caller: Caller,
    drafts: Sequence[Draft],
    request: idempotency.Request | None = None,
    render: Callable[[Sent], str] | None = None,
) -> Sent | Replayed:
    """Accept the drafts, each to one recipient, as one batch.

    With `request` the rendered outcome answers the same request another time. Raises what `bulk.accept` does, and
    `AllRefused`, or the refusal of all where nobody is suppressed; then nothing is stored.
    """
    uuid = ids.new_uuid()
    origin = reach.origin_of(uuid)
    items = [Item(caller, replace(draft, origin=origin)) for draft in drafts]

    def also(tx: db.Transaction, results: list[Result]) -> None:
        sent = _sent(uuid, drafts, results)
        if not sent.accepted:
            _refuse(sent)
        first = drafts[0]
        tx.execute(
            "INSERT INTO batch (uuid, account_id, domain_id, from_addr, subject, recipients, blocked, send_at_ms,"
            " created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                uuid.bytes, caller.account_id, caller.domain_id, first.sender.email, first.subject,
                len(sent.accepted), len(sent.blocked) + len(sent.failed), first.send_at_ms, clock.now_ms(),
            ),
        )  # fmt: skip

    found = bulk.accept(
        caller=caller,
        items=items,
        request=request,
        render=None if render is None else lambda results: render(_sent(uuid, drafts, results)),
        also=also,
    )
    return found if isinstance(found, Replayed) else _sent(uuid, drafts, found)


def _sent(uuid: UUID, drafts: Sequence[Draft], results: Sequence[Result]) -> Sent:
    sent = Sent(uuid, [], [], [])
    for draft, result in zip(drafts, results, strict=True):
        email = draft.to[0].email
        if isinstance(result, Accepted):
            sent.accepted.append(result)
        elif isinstance(result, errors.SuppressedRecipient):
            sent.blocked.append(email)
        else:
            sent.failed.append((email, result))
    return sent


def _refuse(sent: Sent) -> None:
    """A fault that has nothing to do with the recipients is told as what it is."""
    if sent.failed and not sent.blocked:
        raise sent.failed[0][1]
    raise errors.AllRefused(blocked=sent.blocked)
