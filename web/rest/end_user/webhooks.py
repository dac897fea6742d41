"""`/api/v1/webhooks`: the webhooks of the sender key's domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from commands import webhooks as shown
from gateway import errors
from gateway.services import webhook_words, webhooks
from gateway.services.identity import OCTETH, Caller
from models.vocabulary import ACCOUNT_DISABLED
from web import reading
from web.rest.end_user import blueprint, door

EVENT_MISSING = (2, "Event is missing")
EVENT_INVALID = (3, "Invalid Event value")
URL_MISSING = (5, "WebhookURL is missing")
URL_INVALID = (6, "WebhookURL is not an http or https URL")
URL_PRIVATE = (7, "WebhookURL does not lead to a public address")
ID_MISSING = (1, "WebhookID is missing")
ID_INVALID = (4, "Invalid WebhookID")
ACCOUNT = (2, "Invalid user account")


@blueprint.get("/webhooks")
def list_webhooks() -> Response:
    caller, domain_id = _enter(reading.read(request), "read:webhooks")
    try:
        found = webhooks.list_(caller=caller, domain_id=domain_id)
    except errors.NotFound:
        raise door.Refused([ACCOUNT], 404) from None
    return door.answer({"Webhooks": [shown.row(hook) for hook in found]})


@blueprint.post("/webhooks")
def add_webhook() -> Response:
    """Answer with the `NewWebhookID`; else with all errors found."""
    params = reading.read(request)
    words, url = _words(params.get("event")), _text(params, "webhookurl")
    faults = _faults(params, words, url)
    try:
        # On this endpoint 2 means the event, so an account that is gone reads as an invalid key.
        caller, domain_id = _enter(params, "write:webhooks", gone=door.INVALID_KEY, status=401)
    except door.Refused as refused:
        raise door.Refused([*refused.codes, *faults], refused.status, refused.headers) from None
    if faults:
        raise door.Refused(faults, 422)
    try:
        hook = webhooks.add(caller=caller, domain_id=domain_id, event=words, url=url)
    except errors.InvalidUrl:
        raise door.Refused([URL_INVALID], 422) from None
    except errors.PrivateUrl:
        raise door.Refused([URL_PRIVATE], 422) from None
    except errors.WebhookLimitReached as error:
        raise door.Refused([(door.UNDOCUMENTED, error.message)], 422) from None
    except errors.NotFound:
        raise door.Refused([door.INVALID_KEY], 401) from None
    return door.answer({"NewWebhookID": shown.new_id(caller, hook)})


@blueprint.delete("/webhooks")
@blueprint.delete("/webhooks/<webhook_id>")
def delete_webhook(webhook_id: str = "") -> Response:
    """The number comes in the path, the query or the body."""
    params = reading.read(request)
    wanted = webhook_id.strip() or _text(params, "webhookid")
    faults = [] if wanted else [ID_MISSING]
    try:
        caller, domain_id = _enter(params, "write:webhooks")
    except door.Refused as refused:
        raise door.Refused([*refused.codes, *faults], refused.status, refused.headers) from None
    if faults:
        raise door.Refused(faults, 422)
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 19 else 0
    try:
        webhooks.delete(caller=caller, domain_id=domain_id, webhook_id=number)
    except errors.WebhookNotFound:
        raise door.Refused([ID_INVALID], 422) from None
    except (errors.NotFound, errors.DomainNotActive):
        raise door.Refused([ACCOUNT], 404) from None
    return door.answer({"Message": "Webhook successfully deleted."})


def _enter(
    params: Mapping[str, Any], permission: str, *, gone: tuple[int, str] = ACCOUNT, status: int = 404
) -> tuple[Caller, int]:
    """The caller and its domain; without any key it is 13 here."""
    caller = door.enter(request, params, permission, no_key=door.INVALID_KEY)
    if caller.status == ACCOUNT_DISABLED or caller.domain_id is None:
        raise door.Refused([gone], status)
    return caller, caller.domain_id


def _words(value: Any) -> list[str]:
    """One word, several between commas, or a list of them; none where it is anything else."""
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        return []
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


def _faults(params: Mapping[str, Any], words: list[str], url: str) -> list[tuple[int, str]]:
    found = []
    if not words:
        found.append(EVENT_INVALID if params.get("event") else EVENT_MISSING)
    else:
        try:
            webhook_words.read(words, OCTETH)
        except errors.InvalidEvent:
            found.append(EVENT_INVALID)
    if not url:
        found.append(URL_INVALID if params.get("webhookurl") else URL_MISSING)
    return found


def _text(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""
