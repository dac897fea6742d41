"""`POST /v1/send` for Mailmark keys: from a mailbox or a sender group, to all together or to each alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
from flask import request

from gateway import clock, errors
from gateway.mail.draft import Draft, Mailbox
from gateway.services import campaign_sends, dry_runs, idempotency, mailboxes, messages, sender_groups, suppressions
from gateway.services.bulk import Replayed
from gateway.services.campaign_sends import Sent
from gateway.services.identity import Caller
from gateway.services.messages import Accepted
from gateway.services.sender_groups import Group
from web.errors import body as error_body
from web.rest import fields, idempotent
from web.rest.v1.operation import Answer, operation
from web.rest.v1.send import REPLAYED, shown
from web.rest.v1.sending import forecasts
from web.rest.v1.sending.reader import SCOPE, Reader, moment
from web.rest.v1.sending.shapes import SHAPES, anything

_CAMPAIGN_SCOPE = f"{SCOPE} campaign"
_EXAMPLE = {
    "messageId": "msg_01KPZ3N8V4E0R2Y7T6W9Q5B1CD",
    "messageIds": ["msg_01KPZ3N8V4E0R2Y7T6W9Q5B1CD"],
    "batchId": "bat_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "status": "queued",
    "blocked": ["jane@example.org"],
    "failed": [{"to": "bob@example.org", "code": "invalid_template", "message": "The template cannot be rendered."}],
    "scheduledAt": None,
    "test": False,
}
_OWN = {
    "senderGroupId": fields.Text(
        max=64, load_default=None, allow_none=True, doc="A sender group whose mailboxes send in turn, instead of from"
    ),
    "mergeFields": fields.Anything(
        shape={"type": "object"}, doc="Values of placeholders for everybody, or by a campaign's recipient"
    ),
}
_Message: type[fields.Params] = type(
    "MailmarkMessage", (fields.Params,), {name: anything(name) for name in SHAPES} | _OWN
)


@operation(
    "POST",
    "/send",
    permission="send",
    summary="Send an email from a mailbox of the key's domain",
    params=_Message,
    answer=_EXAMPLE,
    dialects=("mailmark",),
)
def send_from_mailbox(caller: Caller, params: dict[str, Any]) -> Answer:
    """422 where every recipient is refused; a campaign is stored whole or not at all."""
    reader = Reader(caller)
    key = idempotent.key(request.headers.get(idempotent.HEADER))
    fingerprint = reader.fingerprint(params) if key is not None else ""
    campaign = params.get("type") == "campaign"
    if key is not None and not campaign and not params.get("dry_run"):
        earlier = messages.replay(caller=caller, endpoint=SCOPE, key=key, fingerprint=fingerprint)
        if earlier is not None:
            return _single(caller, earlier, moment(params.get("scheduledAt"), ms=True))
    group = _group(caller, params)
    _check_time(params)
    merge = _merge(params)
    try:
        read = reader.read(_asked(params, group))
    except errors.DomainNotVerified:
        raise errors.MailboxNeeded(field="from") from None
    drafts = [_merged(draft, merge) for draft in (_once(read.drafts) if read.campaign else read.drafts)]
    drafts = _with_senders(caller, drafts, group, taken=not read.dry_run)
    if read.dry_run:
        return Answer(forecasts.shown(dry_runs.run(caller=read.caller, draft=drafts[0])), status=200)
    try:
        if read.campaign:
            return _campaign(read.caller, drafts, key, fingerprint)
        draft = drafts[0]
        draft.idempotency_key, draft.idempotency_scope, draft.fingerprint = key, SCOPE, fingerprint
        return _single(caller, messages.accept(read.caller, draft), draft.send_at_ms)
    except (errors.AllRefused, errors.SuppressedRecipient) as error:
        named = error.data.get("blocked") or error.data.get("addresses") or []
        return _refused(list(named) if isinstance(named, list) else [])


def _group(caller: Caller, params: Mapping[str, Any]) -> Group | None:
    """The sender group of the request; raises `Invalid` where there is none with that id."""
    named, field = params.get("senderGroupId"), "senderGroupId"
    if not named and isinstance(params.get("from"), str) and "@" not in params["from"]:
        named, field = params["from"].strip(), "from"
    if not named:
        return None
    try:
        return sender_groups.find(caller=caller, group_id=str(named))
    except errors.NotFound:
        raise errors.MailboxNeeded(f"{str(named)[:64]} is no mailbox and no sender group.", field=field) from None


def _asked(params: Mapping[str, Any], group: Group | None) -> dict[str, Any]:
    """What the reader of both vendors is given: a group stands for its mailboxes, and without `to` for its people."""
    known = {name: value for name, value in params.items() if name not in _OWN}
    if group is not None:
        if not group.mailboxes:
            raise errors.MailboxNeeded("The sender group has no mailbox.", field="from")
        known["from"] = group.mailboxes[0]
        if not known.get("to"):
            known["to"] = list(group.emails)
    return known


def _check_time(params: Mapping[str, Any]) -> None:
    value = params.get("scheduledAt")
    if value in (None, ""):
        return
    at_ms = moment(value, ms=True)
    if at_ms is None or at_ms <= clock.now_ms():
        raise errors.Invalid("scheduledAt should be unix milliseconds in the future.", field="scheduledAt")


def _merge(params: Mapping[str, Any]) -> dict[str, Any]:
    """Merge fields for everybody under '', and by recipient where they name one; raises `Invalid`."""
    given = params.get("mergeFields")
    if given is not None and not isinstance(given, dict):
        raise errors.Invalid("mergeFields should be an object.", field="mergeFields")
    found: dict[str, Any] = {"": {}}
    for name, value in (given or {}).items():
        if "@" in name and isinstance(value, dict):
            found[name.strip().lower()] = value
        else:
            found[""][name] = value
    to = params.get("to")
    for one in to if isinstance(to, list) else ():
        if isinstance(one, dict) and isinstance(one.get("mergeFields"), dict) and isinstance(one.get("email"), str):
            found[one["email"].strip().lower()] = one["mergeFields"]
    return found if given is not None or len(found) > 1 else {}


def _once(drafts: list[Draft]) -> list[Draft]:
    """A campaign's drafts without those to somebody in another spelling."""
    found: dict[str, Draft] = {}
    for draft in drafts:
        found.setdefault(suppressions.normalise(draft.to[0].email), draft)
    return list(found.values())


def _merged(draft: Draft, merge: Mapping[str, Any]) -> Draft:
    """Without merge fields placeholders stay as they are written."""
    if not merge:
        return draft
    email = draft.to[0].email if len(draft.to) == 1 else ""
    own = merge.get(email.lower(), {}) if email else {}
    return replace(draft, variables={"email": email, **draft.variables, **merge[""], **own})


def _with_senders(caller: Caller, drafts: list[Draft], group: Group | None, *, taken: bool) -> list[Draft]:
    """Each draft with its mailbox, whose display name it has unless the request names another."""
    if group is None:
        own = mailboxes.require(caller=caller, address=drafts[0].sender.email)
        turns = [own] * len(drafts)
    elif taken:
        turns = sender_groups.turns(caller=caller, group=group, count=len(drafts))
    else:
        turns = [mailboxes.require(caller=caller, address=group.mailboxes[0])] * len(drafts)
    return [
        replace(draft, sender=Mailbox(one.address, draft.sender.name or one.display_name))
        for draft, one in zip(drafts, turns, strict=True)
    ]


def _single(caller: Caller, accepted: Accepted, send_at_ms: int | None) -> Answer:
    told = shown(accepted, send_at_ms)
    later = told["status"] == "scheduled"
    body = told | {
        "messageId": told["id"],
        "batchId": None,
        "blocked": accepted.suppressed,
        "scheduledAt": send_at_ms if later else None,
        "test": not caller.live,
    }
    return Answer(body, headers=REPLAYED if accepted.replayed else {})


def _campaign(caller: Caller, drafts: list[Draft], key: str | None, fingerprint: str) -> Answer:
    asked = None if key is None else idempotency.Request(caller.account_id, _CAMPAIGN_SCOPE, key, fingerprint)

    def told(sent: Sent) -> dict[str, Any]:
        rows = [shown(one, drafts[0].send_at_ms) for one in sent.accepted]
        later = rows[0]["status"] == "scheduled"
        body = rows[0] | {
            "messageIds": [row["id"] for row in rows],
            "batchId": sent.batch_id,
            "blocked": sent.blocked,
            "scheduledAt": drafts[0].send_at_ms if later else None,
            "test": not caller.live,
        }
        if sent.failed:
            body["failed"] = [
                {"to": email, "code": error.slug, "message": error.message} for email, error in sent.failed
            ]
        return body

    found = campaign_sends.send(
        caller=caller, drafts=drafts, request=asked, render=lambda sent: orjson.dumps(told(sent)).decode()
    )
    if isinstance(found, Replayed):
        return Answer(orjson.loads(found.answer), headers=REPLAYED)
    return Answer(told(found))


def _refused(blocked: list[str]) -> Answer:
    error = errors.AllRefused()
    return Answer(
        error_body(error.slug.replace("_", " "), error.message, error.slug) | {"blocked": blocked}, status=422
    )
