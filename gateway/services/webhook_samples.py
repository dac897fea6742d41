"""Test events: a made-up event, told to an endpoint while its owner waits for the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway import clock, config, ids
from gateway.services import domains, webhook_payload, webhook_results, webhook_secrets, webhook_words, webhooks
from gateway.services.event_rows import EventRow
from gateway.services.identity import Caller
from gateway.services.notices import Notice
from gateway.services.webhook_claims import Call
from gateway.services.webhook_payload import Telling
from gateway.services.webhook_results import Done
from gateway.services.webhook_words import NATIVE
from gateway.transports import http_call
from models import database as db
from models.account import Account
from models.database import Transaction
from models.domain import SenderDomain
from models.vocabulary import EventKind
from models.webhook import Webhook

SECONDS = 10.0
"""How long the endpoint may take."""

_ANSWER = 4096
_DEVICE = {"device": "iPhone", "device_kind": "mobile", "client": "Apple Mail"}
_FACTS: dict[EventKind, dict[str, object]] = {
    EventKind.BOUNCED: {"code": 550, "enhanced": "5.1.1", "reason": "550 5.1.1 no such user"},
    EventKind.FAILED: {"code": 451, "enhanced": "4.4.1", "reason": "its time was used up"},
    EventKind.OPENED: {"user_agent": "Mozilla/5.0", "verdict": "human", **_DEVICE},
    EventKind.CLICKED: {"user_agent": "Mozilla/5.0", "verdict": "human", "url": "https://example.com/", **_DEVICE},
}


_NOTICE = {
    "automation": "aut_00000000000000000000000000",
    "automation_name": "A test event",
    "run": "run_00000000000000000000000000",
    "trigger": "event",
    "email": "recipient@example.com",
    "test": True,
}
_PROVIDER = "smtp"


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the endpoint made of it; `code` None: no answer came, and `error` says why."""

    delivery_id: int
    webhook_id: str  # the header's value
    ok: bool
    code: int | None
    error: str
    answer: str  # its first 4 kB
    ms: int
    sent: str  # the body


def send(*, caller: Caller, webhook_id: int, event: str | Sequence[str] | None = None) -> Sampled:
    """Call the webhook once with an event of the wanted kind (by default the first that it asks for).

    Works while it is disabled too, and is no reason to disable it. The event says `Test`. Raises `WebhookNotFound`,
    `InvalidEvent`.
    """
    hook = webhooks.find(caller=caller, webhook_id=webhook_id)
    now = clock.now_ms()
    uuid = ids.new_uuid()
    body, telling = _body(hook, event, now)
    headers = webhook_payload.headers(webhook_payload.SURFACES[hook.surface], body, uuid=uuid, telling=telling)
    reply = http_call.post(hook.url, body, headers, allow=config.settings().webhook_allow, seconds=SECONDS)

    def work(tx: Transaction) -> int:
        made = tx.execute(
            "INSERT INTO webhook_delivery (uuid, webhook_id, message_id, event_id, state, fence, attempts, last_code,"
            " last_error, created_ms) VALUES (?, ?, 0, 0, ?, 0, 1, ?, ?, ?)",
            (uuid.bytes, hook.id, "told" if reply.ok else "dead", reply.status, reply.error, now),
        )
        delivery_id = int(made.lastrowid)
        call = Call(delivery_id, uuid, 0, 0, fence=0, attempts=0, due_ms=now, lease_ms=now)
        webhook_results.record(tx, [Done(call, reply.ok, None, reply, now)])
        webhook_results.count(tx, hook.id, [reply])
        return delivery_id

    delivery_id = db.in_transaction(work)
    answer = reply.body[:_ANSWER].decode("utf-8", "replace")
    return Sampled(delivery_id, str(uuid), reply.ok, reply.status, reply.error, answer, reply.ms, body.decode())


def _body(hook: Webhook, event: str | Sequence[str] | None, now_ms: int) -> tuple[bytes, Telling]:
    """Of the first kind of event that is asked for, else of the first kind of notice that the surface tells."""
    wanted = webhook_words.read(event, hook.surface) if event is not None else None
    kinds = hook.kinds if wanted is None else wanted.kinds
    noticed = json.loads(hook.notices or "[]") if wanted is None else wanted.notices
    surface = webhook_payload.SURFACES[hook.surface]
    secrets = webhook_secrets.opened(hook.uuid, hook.secret, hook.old_secret, hook.old_secret_until_ms)
    workspace = Account.get_by_id(hook.account_id).slug
    if not kinds and noticed and surface.notice is not None and hook.surface != NATIVE:
        telling = Telling("", secrets, now_ms // 1000, workspace)
        return surface.notice(Notice(0, None, noticed[0], now_ms, _NOTICE), telling), telling
    kind = next((kind for kind in EventKind if kinds >> kind & 1), EventKind.DELIVERED)
    row, signing_key = _sample(hook, kind, now_ms)
    telling = Telling(signing_key, secrets, now_ms // 1000, workspace, {row.id: _PROVIDER})
    return surface.event(row, telling), telling


def _sample(hook: Webhook, kind: EventKind, now_ms: int) -> tuple[EventRow, str]:
    """An event of a domain that the webhook hears of, and that domain's signing key."""
    own = SenderDomain.account_id == hook.account_id, SenderDomain.deleted_ms.is_null()
    group = [hook.domain_id] if hook.domain_id is not None else json.loads(hook.domain_ids or "[]")
    chosen = SenderDomain.select().where(*own, *([SenderDomain.id.in_(group)] if group else []))
    domain = chosen.order_by(SenderDomain.id).first()
    name = domain.name if domain is not None else "example.com"
    row = EventRow(
        id=0,
        domain_id=domain.id if domain is not None else 0,
        domain=name,
        kind=kind,
        at_ms=now_ms,
        delivery_id=None,
        rcpt="recipient@example.com",
        ip="192.0.2.1",
        message_id=0,
        message_uuid=UUID(int=0),
        subject="A test event",
        size=0,
        live=False,
        reply="",
        mx="",
        data_json=json.dumps(_FACTS.get(kind, {})),
        tags_json="[]",
        headers_json="{}",
    )
    # Without any domain nobody has a key to check with.
    return row, domains.signing_key(domain) if domain is not None else ids.token(64)
