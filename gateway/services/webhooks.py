"""Webhook endpoints: who wants to hear of which events, and where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway import clock, config, errors, ids, vault
from gateway.services import audit, domains, webhook_secrets, webhook_words
from gateway.services.identity import OCTETH, Caller
from gateway.services.webhook_calls import drain
from gateway.services.webhook_claims import bury
from gateway.services.webhook_payload import SURFACES
from gateway.transports import http_call
from models.database import Transaction, in_transaction
from models.delivery import Lane
from models.vocabulary import DOMAIN_DISABLED, DOMAIN_SUSPENDED, LaneKind
from models.webhook import Webhook

__all__ = ["Hook", "add", "delete", "drain", "find", "list_", "list_account", "shown"]

PREFIX = "whk"
GROUP_MOST = 1000
"""Domains of one group."""

_ROW_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook as its owner sees it; `events` as the creator spelled them.

    It hears of `domain_id`, else of the group `domain_ids`, else, where both are None, of the whole account.
    """

    id: int
    uuid: str
    domain_id: int | None
    domain_ids: list[int] | None
    surface: str
    url: str
    events: list[str]
    test_events: bool
    status: str
    name: str
    secret: str  # whsec_…, signs the Standard Webhooks headers
    old_secret_until_ms: int | None  # the one before signs too until then
    last_code: int | None
    last_ms: int | None
    last_tries: int
    failing_ms: int | None  # since when every call has failed
    disabled_ms: int | None
    disabled_cause: str
    created_ms: int


def add(
    *,
    caller: Caller,
    domain_id: int | None = None,
    domain_ids: Sequence[int] | None = None,
    event: str | Sequence[str],
    url: str,
    surface: str = OCTETH,
    test_events: bool = False,
    id: int | None = None,
    name: str = "",
) -> Hook:
    """Register `url` for events of one domain, of a group of domains, or without either of the whole account.

    `event` is a word, words between commas or a list of them; notices are for a group or account only. `id` is the
    number of an import from elsewhere. Raises `NotFound` (a domain), `InvalidEvent`, `InvalidUrl`, `PrivateUrl`,
    `WebhookLimitReached`, `Invalid`.
    """
    wanted = webhook_words.read(event, surface)
    if surface not in SURFACES:
        raise errors.Invalid("Payload should be one of " + ", ".join(SURFACES), field="Payload")
    if domain_id is not None:
        wanted = webhook_words.of_domain(wanted, surface)
    if caller.domain_id is not None and domain_id is None:
        raise errors.NotFound("There is no such sender domain.", what="domain")
    heard = _heard(caller, domain_id, domain_ids)
    url = url.strip()
    http_call.check(url, config.settings().webhook_allow)
    uuid = ids.new_uuid()
    secret = webhook_secrets.make()

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
            domain_id=domain_id,
            domain_ids=json.dumps(heard) if domain_ids is not None else None,
            surface=surface,
            url=url,
            events=json.dumps(wanted.spelled),
            kinds=wanted.kinds,
            notices=json.dumps(wanted.notices) if wanted.notices else None,
            test_events=test_events,
            name=name.strip() or None,
            secret=vault.seal(secret, uuid.hex),
            lane_id=0,
            created_ms=clock.now_ms(),
        )
        lane = Lane.create(
            kind=LaneKind.WEBHOOK, account_id=caller.account_id, domain_id=domain_id or 0, endpoint_id=hook.id
        )
        hook.lane_id = lane.id
        hook.save()
        told = {"url": url, "events": wanted.spelled, "domains": heard, "surface": surface, "test_events": test_events}
        audit.record(tx, caller=caller, action="webhook.create", what=f"webhook:{hook.id}", after=told)
        return hook

    return shown(in_transaction(work))


def find(*, caller: Caller, webhook_id: int) -> Webhook:
    """The caller's webhook; raises `WebhookNotFound` for an absent, deleted or foreign one alike."""
    where = [Webhook.id == webhook_id, Webhook.account_id == caller.account_id, Webhook.deleted_ms.is_null()]
    if caller.domain_id is not None:
        where.append(Webhook.domain_id == caller.domain_id)
    found = Webhook.get_or_none(*where)
    if found is None:
        raise errors.WebhookNotFound(what="webhook")
    return found


def find_public(*, caller: Caller, hook_id: str, surface: str) -> Webhook:
    """The caller's webhook of that surface by its public id (`whk_…`); raises `WebhookNotFound`."""
    uuid = ids.uuid_of(PREFIX, hook_id)
    found = Webhook.get_or_none(Webhook.uuid == uuid, Webhook.surface == surface) if uuid is not None else None
    if found is None:
        raise errors.WebhookNotFound(what="webhook")
    return find(caller=caller, webhook_id=found.id)


def list_surface(*, caller: Caller, surface: str) -> list[Hook]:
    """The webhooks of that surface, the oldest first; of a domain's key those of its domain alone."""
    query = Webhook.select().where(
        Webhook.account_id == caller.account_id, Webhook.surface == surface, Webhook.deleted_ms.is_null()
    )
    if caller.domain_id is not None:
        query = query.where(Webhook.domain_id == caller.domain_id)
    return [shown(hook) for hook in query.order_by(Webhook.id)]


def list_account(*, caller: Caller) -> list[Hook]:
    """The webhooks of groups and of the whole account, the oldest first."""
    query = Webhook.select().where(
        Webhook.account_id == caller.account_id, Webhook.domain_id.is_null(), Webhook.deleted_ms.is_null()
    )
    return [shown(hook) for hook in query.order_by(Webhook.id)] if caller.domain_id is None else []


def list_(*, caller: Caller, domain_id: int) -> list[Hook]:
    """The webhooks of one domain, the oldest first; raises `NotFound`."""
    domain = domains.find(caller=caller, domain_id=domain_id)
    query = Webhook.select().where(
        Webhook.account_id == caller.account_id, Webhook.domain_id == domain.id, Webhook.deleted_ms.is_null()
    )
    return [shown(hook) for hook in query.order_by(Webhook.id)]


def delete(*, caller: Caller, webhook_id: int, domain_id: int | None = None) -> None:
    """Remove a webhook; with `domain_id` only one of that domain.

    What was still to be told to it goes to the dead letters. Raises `NotFound` (the domain), `WebhookNotFound`,
    `DomainNotActive` where the domain is given and is disabled or suspended.
    """
    if domain_id is None:
        find(caller=caller, webhook_id=webhook_id)
    elif domains.find(caller=caller, domain_id=domain_id).status in (DOMAIN_DISABLED, DOMAIN_SUSPENDED):
        raise errors.DomainNotActive()
    where, values = ("", ()) if domain_id is None else (" AND domain_id = ?", (domain_id,))

    def work(tx: Transaction) -> bool:
        found = tx.execute(
            f"UPDATE webhook SET deleted_ms = ? WHERE id = ? AND account_id = ? AND deleted_ms IS NULL{where}",
            (clock.now_ms(), webhook_id, caller.account_id, *values),
        ).rowcount
        if found:
            bury(tx, webhook_id, "the webhook was deleted")
            ((gone_url, events),) = tx.rows("SELECT url, events FROM webhook WHERE id = ?", (webhook_id,))
            before = {"url": gone_url, "events": json.loads(events)}
            audit.record(tx, caller=caller, action="webhook.delete", what=f"webhook:{webhook_id}", before=before)
        return bool(found)

    if not in_transaction(work):
        raise errors.WebhookNotFound(what="webhook")


def shown(hook: Any) -> Hook:
    """The row as its owner sees it."""
    until = hook.old_secret_until_ms
    return Hook(
        id=hook.id,
        uuid=str(hook.uuid),
        domain_id=hook.domain_id,
        domain_ids=json.loads(hook.domain_ids) if hook.domain_ids is not None else None,
        surface=hook.surface,
        url=hook.url,
        events=json.loads(hook.events),
        test_events=hook.test_events,
        status=hook.status,
        name=hook.name or "",
        secret=vault.unseal(hook.secret, hook.uuid.hex),
        old_secret_until_ms=until if until is not None and until > clock.now_ms() else None,
        last_code=hook.last_code,
        last_ms=hook.last_ms,
        last_tries=hook.last_tries,
        failing_ms=hook.failing_ms,
        disabled_ms=hook.disabled_ms,
        disabled_cause=hook.disabled_cause or "",
        created_ms=hook.created_ms,
    )


def _heard(caller: Caller, domain_id: int | None, domain_ids: Sequence[int] | None) -> list[int]:
    """The domains asked for, each the caller's; raises `NotFound`, `Invalid` for a group of none or too many."""
    if domain_id is not None:
        return [domains.find(caller=caller, domain_id=domain_id).id]
    if domain_ids is None:
        return []
    if not 0 < len(set(domain_ids)) <= GROUP_MOST:
        raise errors.Invalid(f"A group has from 1 to {GROUP_MOST} domains.", field="DomainIDs")
    return sorted(domains.find(caller=caller, domain_id=one).id for one in set(domain_ids))


def _check_limit(tx: Transaction, caller: Caller) -> None:
    most = caller.plan.max_webhooks
    if most is None:
        return
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    tx.rows(f"SELECT id FROM account WHERE id = ?{lock}", (caller.account_id,))
    count = tx.rows("SELECT COUNT(*) FROM webhook WHERE account_id = ? AND deleted_ms IS NULL", (caller.account_id,))
    if count[0][0] >= most:
        raise errors.WebhookLimitReached()
