"""`/v1/webhooks`: who is told of which events, and the secrets that sign."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from gateway import clock, errors, ids
from gateway.services import domains, message_events, webhook_changes, webhook_samples, webhooks
from gateway.services.identity import Caller
from gateway.services.webhook_words import MAILERSIO
from gateway.services.webhooks import Hook
from web.rest import fields, paging
from web.rest.v1.operation import Answer, operation

DIALECTS = {"mailersio", "octeth"}
_TYPES = tuple(dict.fromkeys((*message_events.WORDS, *message_events.NOTICES.values())))
_EVENTS = ", ".join(_TYPES)
_ALL = "*"
EXAMPLE: dict[str, Any] = {
    "id": "whk_01K0Q4T2X8Z3V5N7B9C1D3F5G7",
    "url": "https://example.com/hooks/mail",
    "events": ["message.delivered", "message.bounced"],
    "status": "active",
    "domains": None,
    "test_events": False,
    "created_at": "2026-04-19T10:24:11Z",
    "last_response": None,
    "disabled_at": None,
    "disabled_reason": None,
    "old_secret_expires_at": None,
}
_WITH_SECRET = EXAMPLE | {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}


class _Add(fields.Params):
    url = fields.Text(max=2000, min=1, required=True, doc="Where events are sent: http or https, a public address")
    events = fields.Words(max=64, most=64, load_default=[_ALL], doc=f"Of {_EVENTS}; `*` is all of them")
    domains = fields.Words(max=253, doc="Only events of these sending domains")
    test_events = fields.Flag(load_default=False, doc="Whether events of test keys are sent too")


class _Change(fields.Params):
    url = fields.Text(max=2000, min=1, doc="Where events are sent")
    events = fields.Words(max=64, most=64, doc=f"Of {_EVENTS}; `*` is all of them")
    status = fields.Text(choices=("active", "disabled"), doc="One that is disabled is told nothing")
    test_events = fields.Flag(doc="Whether events of test keys are sent too")


class _Rotate(fields.Params):
    overlap_hours = fields.Whole(
        low=0, high=webhook_changes.OVERLAP_HOURS_MOST, load_default=webhook_changes.OVERLAP_HOURS,
        doc="How long the old secret signs too",
    )  # fmt: skip


class _Test(fields.Params):
    event = fields.Text(max=64, doc="The type of the test event; else the first that it asks for")


class _Listing(fields.Listing):
    status = fields.Text(choices=("active", "disabled"), doc="Only those of this status")
    event = fields.Text(choices=_TYPES, doc="Only those that hear of this type of event")


@operation(
    "GET", "/webhooks", permission="read:webhooks", summary="List webhook endpoints", params=_Listing,
    answer={"data": [EXAMPLE], "has_more": False, "next_cursor": None}, dialects=DIALECTS,
)  # fmt: skip
def list_webhooks(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    after, status, event = paging.last_id(params["cursor"]) or 0, params.get("status"), params.get("event")
    rows = [
        hook
        for hook in webhooks.list_surface(caller=caller, surface=MAILERSIO)
        if hook.id > after and status in (None, hook.status) and (event is None or {event, _ALL} & set(hook.events))
    ]
    return paging.page(rows, params["limit"], lambda hook: paging.cursor(hook.id), lambda hook: shown(caller, hook))


@operation(
    "POST", "/webhooks", permission="write:webhooks", summary="Add a webhook endpoint; its secret is shown once",
    params=_Add, answer=_WITH_SECRET, status=201, dialects=DIALECTS,
)  # fmt: skip
def create_webhook(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """A key of one domain makes webhooks of that domain."""
    hook = webhooks.add(
        caller=caller,
        domain_id=caller.domain_id,
        domain_ids=_domain_ids(caller, params.get("domains")) if caller.domain_id is None else None,
        event=_words(params["events"]),
        url=params["url"],
        surface=MAILERSIO,
        test_events=params["test_events"],
    )
    return shown(caller, hook) | {"secret": hook.secret}


@operation(
    "GET", "/webhooks/<webhook_id>", permission="read:webhooks", summary="Show a webhook endpoint", answer=EXAMPLE,
    dialects=DIALECTS,
)  # fmt: skip
def get_webhook(caller: Caller, params: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    return shown(caller, webhooks.shown(find(caller, webhook_id)))


@operation(
    "PATCH", "/webhooks/<webhook_id>", permission="write:webhooks", summary="Change what is given of a webhook",
    params=_Change, answer=EXAMPLE, dialects=DIALECTS,
)  # fmt: skip
def update_webhook(caller: Caller, params: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    """Enabling starts anew; dead letters come back by a replay alone."""
    status = params.get("status")
    hook = webhook_changes.update(
        caller=caller,
        webhook_id=find(caller, webhook_id).id,
        url=params.get("url"),
        event=_words(params["events"]) if "events" in params else None,
        active=None if status is None else status == "active",
        test_events=params.get("test_events"),
    )
    return shown(caller, hook)


@operation(
    "DELETE", "/webhooks/<webhook_id>", permission="write:webhooks", summary="Remove a webhook endpoint", status=204,
    dialects=DIALECTS,
)  # fmt: skip
def delete_webhook(caller: Caller, params: dict[str, Any], webhook_id: str) -> Answer:
    webhooks.delete(caller=caller, webhook_id=find(caller, webhook_id).id)
    return Answer(None, 204)


@operation(
    "POST", "/webhooks/<webhook_id>/rotate-secret", permission="write:webhooks",
    summary="Sign with a new secret, and for a while with the old one too", params=_Rotate, answer=_WITH_SECRET,
    dialects=DIALECTS,
)  # fmt: skip
def rotate_webhook_secret(caller: Caller, params: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    hook = webhook_changes.rotate_secret(
        caller=caller, webhook_id=find(caller, webhook_id).id, overlap_hours=params["overlap_hours"]
    )
    return shown(caller, hook) | {"secret": hook.secret}


@operation(
    "POST", "/webhooks/<webhook_id>/test", permission="write:webhooks",
    summary="Send a test event and wait for the endpoint's answer", params=_Test, dialects=DIALECTS,
    answer={"id": "0198c3a0-0000-7000-8000-000000000000", "delivered": True, "code": None, "error": "",
            "response": "ok", "duration_ms": 12, "payload": "{…}"},
)  # fmt: skip
def test_webhook(caller: Caller, params: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    """Works while it is disabled too. `payload` is the body as it was sent."""
    made = webhook_samples.send(caller=caller, webhook_id=find(caller, webhook_id).id, event=params.get("event"))
    return {
        "id": made.webhook_id, "delivered": made.ok, "code": made.code, "error": made.error, "response": made.answer,
        "duration_ms": made.ms, "payload": made.sent,
    }  # fmt: skip


def find(caller: Caller, webhook_id: str) -> Any:
    return webhooks.find_public(caller=caller, hook_id=webhook_id, surface=MAILERSIO)


def shown(caller: Caller, hook: Hook) -> dict[str, Any]:
    """Without its secret: that is shown when it is made."""
    ours = {domain.id: domain.name for domain in domains.list_(caller=caller)}
    heard = [hook.domain_id] if hook.domain_id is not None else hook.domain_ids
    last = {"code": hook.last_code, "at": moment(hook.last_ms)} if hook.last_ms is not None else None
    return {
        "id": ids.public_id(webhooks.PREFIX, UUID(hook.uuid)),
        "url": hook.url,
        "events": hook.events,
        "status": hook.status,
        "domains": None if heard is None else [ours[one] for one in heard if one in ours],
        "test_events": hook.test_events,
        "created_at": moment(hook.created_ms),
        "last_response": last,
        "disabled_at": moment(hook.disabled_ms),
        "disabled_reason": hook.disabled_cause or None,
        "old_secret_expires_at": moment(hook.old_secret_until_ms),
    }


def moment(ms: int | None) -> str | None:
    return None if ms is None else clock.rfc3339(ms)


def _words(words: list[str]) -> list[str]:
    if not words:
        raise errors.Invalid("events should name at least one type of event.", field="events")
    return words


def _domain_ids(caller: Caller, names: list[str] | None) -> list[int] | None:
    if names is None:
        return None
    return [domains.find_by_name(caller=caller, name=name).id for name in names]
