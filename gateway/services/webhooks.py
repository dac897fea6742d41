"""Webhook endpoints: who wants to hear of which events, and where."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway import clock, config, errors, ids, vault
from gateway.services import domains, event_words
from gateway.services.identity import OCTETH, Caller
from gateway.services.webhook_calls import drain
from gateway.services.webhook_claims import bury
from gateway.transports import http_call
from models.database import Transaction, in_transaction
from models.delivery import Lane
from models.vocabulary import DOMAIN_DISABLED, DOMAIN_SUSPENDED, EventKind, LaneKind
from models.webhook import Webhook

__all__ = ["Endpoint", "Hook", "add", "delete", "drain", "list_", "mask", "matching", "new_secret"]

_ROW_MOST = 2**31 - 1
_SECRET_BYTES = 24  # Standard Webhooks 1.0: 24 to 64


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An active webhook as the writer of events sees it; `domain_id` None hears of every domain of the account."""

    id: int
    account_id: int
    domain_id: int | None
    kinds: int  # bit mask of 1 << EventKind
    lane_id: int
    surface: str

    def wants(self, kind: EventKind) -> bool:
        return bool(self.kinds >> kind & 1)


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook as its owner sees it; `events` as the creator spelled them."""

    id: int
    uuid: str
    domain_id: int | None
    url: str
    events: list[str]
    status: str
    secret: str  # whsec_…, signs the Standard Webhooks headers
    last_code: int | None
    last_ms: int | None
    last_tries: int
    created_ms: int


def add(*, caller: Caller, domain_id: int, event: str, url: str, id: int | None = None) -> Hook:
    """Register `url` for an event word of one domain; `id` is the number of an import from elsewhere.

    Raises `NotFound` (the domain), `InvalidEvent`, `InvalidUrl`, `PrivateUrl`, `WebhookLimitReached`, `Invalid`.
    """
    kinds = event_words.for_webhook(event)
    domain = domains.find(caller=caller, domain_id=domain_id)
    url = url.strip()
    http_call.check(url, config.settings().webhook_allow)
    uuid = ids.new_uuid()
    secret = new_secret()

    if id is not None and not 0 < id <= _ROW_MOST:
        raise errors.Invalid(f"A webhook's id is from 1 to {_ROW_MOST}", field="id")

    def work(tx: Transaction) -> Webhook:
        _check_limit(tx, caller)
        if id is not None and tx.rows("SELECT id FROM webhook WHERE id = ?", (id,)):
            raise errors.Invalid("That webhook id is taken.", field="id")
        hook = Webhook.create(
            **({"id": id} if id is not None else {}),
            uuid=uuid,
            account_id=caller.account_id,
            domain_id=domain.id,
            surface=OCTETH,
            url=url,
            events=json.dumps([event.strip()]),
            kinds=mask(kinds),
            secret=vault.seal(secret, uuid.hex),
            lane_id=0,
            created_ms=clock.now_ms(),
        )
        lane = Lane.create(
            kind=LaneKind.WEBHOOK, account_id=caller.account_id, domain_id=domain.id, endpoint_id=hook.id
        )
        hook.lane_id = lane.id
        hook.save()
        return hook

    return _shown(in_transaction(work))


def list_(*, caller: Caller, domain_id: int) -> list[Hook]:
    """The webhooks of one domain, the oldest first; raises `NotFound`."""
    domain = domains.find(caller=caller, domain_id=domain_id)
    query = Webhook.select().where(
        Webhook.account_id == caller.account_id, Webhook.domain_id == domain.id, Webhook.deleted_ms.is_null()
    )
    return [_shown(hook) for hook in query.order_by(Webhook.id)]


def delete(*, caller: Caller, domain_id: int, webhook_id: int) -> None:
    """Remove a webhook; what was still to be told to it goes to the dead letters.

    Raises `NotFound` (the domain), `WebhookNotFound`, `DomainNotActive` for a disabled or suspended domain.
    """
    domain = domains.find(caller=caller, domain_id=domain_id)
    if domain.status in (DOMAIN_DISABLED, DOMAIN_SUSPENDED):
        raise errors.DomainNotActive()

    def work(tx: Transaction) -> bool:
        found = tx.execute(
            "UPDATE webhook SET deleted_ms = ? WHERE id = ? AND account_id = ? AND domain_id = ?"
            " AND deleted_ms IS NULL",
            (clock.now_ms(), webhook_id, caller.account_id, domain.id),
        ).rowcount
        if found:
            bury(tx, webhook_id, "the webhook was deleted")
        return bool(found)

    if not in_transaction(work):
        raise errors.WebhookNotFound(what="webhook")


def matching(tx: Transaction, domain_ids: set[int], account_ids: set[int]) -> list[Endpoint]:
    """Active webhooks of these domains, and those of these accounts that hear of every domain, oldest first.

    Whoever writes events picks by `wants(kind)` and inserts one row of `webhook_delivery` for each.
    """
    if not domain_ids and not account_ids:
        return []
    # Two halves of one statement: an OR over two columns would read the whole table.
    select = "SELECT id, account_id, domain_id, kinds, lane_id, surface FROM webhook WHERE {} AND {}"
    active = "status = 'active' AND deleted_ms IS NULL"
    halves = [
        select.format(where.format(", ".join("?" * len(wanted))), active)
        for wanted, where in (
            (domain_ids, "domain_id IN ({})"),
            (account_ids, "account_id IN ({}) AND domain_id IS NULL"),
        )
        if wanted
    ]
    found = [Endpoint(*row) for row in tx.rows(" UNION ALL ".join(halves), [*sorted(domain_ids), *sorted(account_ids)])]
    return sorted(found, key=lambda endpoint: endpoint.id)


def mask(kinds: Iterable[EventKind]) -> int:
    """The bit mask of `Webhook.kinds`."""
    return sum(1 << kind for kind in set(kinds))


def new_secret() -> str:
    """`whsec_` and base64 of 24 random bytes, as Standard Webhooks 1.0 writes it."""
    return "whsec_" + base64.b64encode(bytes.fromhex(ids.token(2 * _SECRET_BYTES))).decode("ascii")


def _check_limit(tx: Transaction, caller: Caller) -> None:
    most = caller.plan.max_webhooks
    if most is None:
        return
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    tx.rows(f"SELECT id FROM account WHERE id = ?{lock}", (caller.account_id,))
    count = tx.rows("SELECT COUNT(*) FROM webhook WHERE account_id = ? AND deleted_ms IS NULL", (caller.account_id,))
    if count[0][0] >= most:
        raise errors.WebhookLimitReached()


def _shown(hook: Any) -> Hook:
    return Hook(
        id=hook.id,
        uuid=str(hook.uuid),
        domain_id=hook.domain_id,
        url=hook.url,
        events=json.loads(hook.events),
        status=hook.status,
        secret=vault.unseal(hook.secret, hook.uuid.hex),
        last_code=hook.last_code,
        last_ms=hook.last_ms,
        last_tries=hook.last_tries,
        created_ms=hook.created_ms,
    )
