"""The gates in front of accepting a message: what is checked, decided and noted before anything is written.

`prepare` needs no transaction and stores nothing; `admit` is the part that only the accepting transaction can
decide. A dry run goes through both and takes the second back. Each gate leaves its verdict in the trail.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from gateway import clock, config, errors, ids
from gateway.mail import address, container
from gateway.mail.content_score import Content
from gateway.mail.draft import PURPOSES, Draft
from gateway.services import (
    audiences,
    idempotency,
    lanes,
    personal,
    quotas,
    risks,
    routes,
    routing_match,
    routing_tables,
    senders,
    suppressions,
    verdicts,
)
from gateway.services.audiences import Audience
from gateway.services.identity import Caller
from gateway.services.suppressions import Suppressed
from gateway.services.verdicts import Trail
from models import database as db
from models.vocabulary import ACCOUNT_DISABLED, ACCOUNT_UNVERIFIED, Stream

KIND_PARTS, KIND_MIME = "parts", "mime"


@dataclass(slots=True)
class Prepared:
    """A draft that passed all gates but those of the transaction."""

    caller: Caller
    draft: Draft
    sender: senders.Sender
    recipients: list[str]
    kind: str
    body: bytes
    route: str
    due_ms: int
    expires_ms: int
    now_ms: int
    trail: Trail
    uuid: UUID
    routes: dict[str, str] = field(default_factory=dict)  # by recipient, where that is not `route`
    audience: Audience | None = None  # of a list or segment
    matching: int | None = None  # of a segment: how many were in it a moment ago
    first: audiences.Reached | None = None  # of a list: the first subscriber who may be written to
    held: str = ""  # why its deliveries wait for a person; of a list they are not made until then
    columns: tuple[Any, ...] = ()  # what `acceptance` made of it for all messages that are alike

    @property
    def waits_ms(self) -> int:
        """When a delivery is looked at first: one that is held fails at the end of its time."""
        return self.expires_ms if self.held else self.due_ms

    def route_of(self, rcpt: str) -> str:
        return self.routes.get(rcpt, self.route)

    @property
    def request(self) -> idempotency.Request | None:
        return idempotency.of_draft(self.caller.account_id, self.draft)


@dataclass(slots=True)
class Admitted:
    """What the transaction decided; `earlier` is the MessageID that the same request was answered with."""

    earlier: str | None = None
    count: int = 0  # recipients
    upto: int = 0  # of a list: the last subscriber's id
    suppressed: list[str] = field(default_factory=list)
    blocked: dict[str, Suppressed] = field(default_factory=dict)


def check_sender(caller: Caller) -> senders.Sender:
    """The gates that need no draft: the account may send and its key's domain is enabled."""
    check_account(caller)
    return _domain(caller)


def check_account(caller: Caller) -> None:
    """The gate that only the account decides; raises `AccountDisabled`, `AccountUnverified`."""
    if caller.status == ACCOUNT_DISABLED:
        raise errors.AccountDisabled()
    if caller.status == ACCOUNT_UNVERIFIED:
        raise errors.AccountUnverified()


def _domain(caller: Caller) -> senders.Sender:
    found = senders.sender(caller.domain_id) if caller.domain_id is not None else None
    if found is None or found.account_id != caller.account_id or found.deleted:
        raise errors.DomainGone()
    if not found.enabled:
        raise errors.DomainNotActive()
    return found


def prepare(caller: Caller, draft: Draft, trail: Trail) -> Prepared:
    """Check and route a draft. Reads the database and changes nothing."""
    check_account(caller)
    trail[verdicts.AUTH] = _auth(caller, draft)
    sender = _domain(caller)
    if not address.same_or_subdomain(draft.sender.domain, sender.name):
        raise errors.NotAllowed("The From address does not belong to the sender domain.", field="From")
    trail[verdicts.SENDER_DOMAIN] = {
        "gate": verdicts.SENDER_DOMAIN, "rule": "from_in_domain", "domain": sender.name, "status": sender.status,
        "from": draft.sender.email,
    }  # fmt: skip
    draft = personal.prepare(caller, draft)
    audience = None
    if draft.list_id is not None:
        audience = audiences.find(account_id=caller.account_id, target_id=draft.list_id)
        if audience is not None:  # what goes to a segment is the list's
            draft = replace(draft, list_id=audience.list_id)
    stream_rule = _stream_rule(draft)
    if draft.stream is None:
        usual = Stream.TRANSACTIONAL if draft.list_id is None else Stream.BULK
        draft = draft.moved(PURPOSES.get(draft.purpose, usual))
    found = recipients(draft)
    if not found and draft.list_id is None:
        raise errors.Invalid("There is no recipient set for the email.", field="To")
    settings = config.settings()
    body, kind, trail[verdicts.VALIDATION] = _validated(caller, draft, len(found))
    now = clock.now_ms()
    due = max(draft.send_at_ms or 0, now)
    bulk = draft.in_stream is Stream.BULK
    expires = due + (settings.bulk_hours if bulk else settings.transactional_hours) * 3_600_000
    route = lanes.ROUTE_DEFAULT if caller.live else lanes.ROUTE_TEST
    trail |= _ways(draft, settings.delivery, route, due, expires, now, stream_rule)
    prepared = Prepared(
        caller=caller, draft=draft, sender=sender, recipients=found, kind=kind, body=body, route=route,
        due_ms=due, expires_ms=expires, now_ms=now, trail=trail, uuid=ids.new_uuid(),
        audience=audience,
        matching=None if audience is None or audience.matcher is None else audiences.size(audience),
        first=_first(sender, audience),
    )  # fmt: skip
    choose_servers(prepared)
    _weigh(prepared, draft)
    return prepared


def with_body(like: Prepared, draft: Draft) -> Prepared:
    """A draft of the same shape as one that was prepared, with a body of its own; raises `TooLarge`."""
    body, kind, validation = _validated(like.caller, draft, len(like.recipients))
    prepared = Prepared(
        caller=like.caller, draft=like.draft, sender=like.sender, recipients=like.recipients, kind=kind, body=body,
        route=like.route, due_ms=like.due_ms, expires_ms=like.expires_ms, now_ms=like.now_ms,
        trail=like.trail | {verdicts.VALIDATION: validation}, uuid=like.uuid,
    )  # fmt: skip
    _weigh(prepared, draft)
    return prepared


def _validated(caller: Caller, draft: Draft, count: int) -> tuple[bytes, str, verdicts.Stored]:
    """The body as it is stored, its kind, and the verdict on its size."""
    settings = config.settings()
    body, kind = _body(draft)
    own = caller.plan.max_size
    limit, rule = settings.message_size, "COMMANDPOST_MESSAGE_SIZE"
    if own and own < limit:
        limit, rule = own, "plan"
    if len(body) > limit:
        raise errors.TooLarge(f"The message has {len(body)} bytes; {limit} are allowed.", limit=limit, used=len(body))
    verdict: verdicts.Stored = {
        "gate": verdicts.VALIDATION, "rule": rule, "recipients": count, "bytes": len(body), "limit": limit,
    }  # fmt: skip
    return body, kind, verdict


def _weigh(prepared: Prepared, draft: Draft) -> None:
    """What the account's policy says to the risk of the message; accounts without one pay nothing."""
    if draft.raw is not None:
        return
    risk = risks.at_sending(
        prepared.caller,
        recipients=len(prepared.recipients),
        content=Content(
            draft.subject, draft.html, draft.text, [one.filename for one in draft.attachments], len(prepared.body),
            draft.in_stream is Stream.BULK, prepared.sender.unsubscribe_link,
        ),
    )  # fmt: skip
    if risk is None:
        return
    action = risk.action
    words = {risks.ALLOWED: verdicts.PASSED, risks.WARNED: "warned", risks.HELD: "held"}
    prepared.trail[verdicts.RISK] = {
        "gate": verdicts.RISK, "decision": words[action], "rule": risk.level, "score": risk.score,
        "factors": [factor.code for factor in risk.factors],
    }  # fmt: skip
    if action == risks.HELD:
        prepared.held = f"its risk is {risk.level} ({risk.score} of 100): {risk.factors[0].message}"


def has_servers(prepared: Prepared) -> bool:
    """Whether the mail may leave over servers of the account's own."""
    return prepared.route != lanes.ROUTE_TEST and routing_tables.of(prepared.caller.account_id) is not None


def choose_servers(prepared: Prepared) -> None:
    """Route each recipient over one of the account's own servers, where it has any; test mail never leaves."""
    if prepared.route == lanes.ROUTE_TEST:
        return
    draft, account_id = prepared.draft, prepared.caller.account_id
    table = routing_tables.committed(account_id)
    if table is None:
        if draft.server:
            raise routes.no_such(draft.server)
        return
    plan = routes.Plan(table, mail_of(prepared), prepared.uuid.bytes, draft.server)
    if draft.list_id is not None:
        # Each subscriber's way is chosen when the delivery is made, by the same rules.
        first = plan.choose(prepared.first.email) if prepared.first is not None else None
        if first is not None:
            prepared.route = first.route
        prepared.trail[verdicts.ROUTE] = {
            "gate": verdicts.ROUTE, "decision": "for_each", "rule": "list", "list": draft.list_id,
        }  # fmt: skip
        return
    choices = {rcpt: plan.choose(rcpt) for rcpt in prepared.recipients}
    prepared.routes = {rcpt: choice.route for rcpt, choice in choices.items() if choice is not None}
    if prepared.routes or plan.unused:
        prepared.trail[verdicts.ROUTE] = routes.verdict(table, plan, choices)


def mail_of(prepared: Prepared) -> routing_match.Mail:
    draft = prepared.draft
    return routing_match.Mail(
        prepared.sender.id, draft.sender.domain, routing_match.purpose_word(draft.purpose, draft.in_stream),
        tuple(draft.tags), len(prepared.body), draft.list_id,
    )  # fmt: skip


def _auth(caller: Caller, draft: Draft) -> verdicts.Stored:
    if caller.key_id is not None:
        how: verdicts.Stored = {"rule": "key", "id": caller.key_id}
    elif draft.smtp_login_id is not None:
        how = {"rule": "smtp_login", "id": draft.smtp_login_id}
    else:
        how = {"rule": "account", "id": caller.account_id}
    if draft.mail_from is not None:
        how["mail_from"] = draft.mail_from
    return {"gate": verdicts.AUTH, **how, "live": caller.live}


def _stream_rule(draft: Draft) -> str:
    """Who says the stream of a draft."""
    if draft.stream is not None:
        return "request"
    if draft.purpose in PURPOSES:
        return "purpose"
    return "list" if draft.list_id is not None else "default"


def _ways(draft: Draft, delivery: str, route: str, due: int, expires: int, now: int, stream_rule: str) -> Trail:
    """When, in which stream and over what it goes."""
    schedule: verdicts.Stored = {"gate": verdicts.SCHEDULE, "decision": "now", "due_ms": due, "until_ms": expires}
    if due > now:
        schedule |= {"decision": "later", "rule": "SendAt"}
    stream: verdicts.Stored = {"gate": verdicts.STREAM, "decision": draft.in_stream.name.lower(), "rule": stream_rule}
    test = route == lanes.ROUTE_TEST
    way = {"decision": transport_name(delivery, route), "rule": "test_key" if test else "COMMANDPOST_DELIVERY"}
    return {
        verdicts.SCHEDULE: schedule,
        verdicts.STREAM: stream,
        verdicts.ROUTE: {"gate": verdicts.ROUTE, **way, "route": route or "default"},
    }


def transport_name(delivery: str, route: str) -> str:
    """The transport that mail of the route leaves over, as attempts call it."""
    if route == lanes.ROUTE_TEST:
        return "capture"
    return "smarthost" if delivery.startswith(("smtp://", "smtps://")) else delivery


def shape(draft: Draft, count: int) -> tuple[Hashable, ...]:
    """What `prepare` reads of a draft without template, variables and list to `count` recipients, but for its body.

    And but for the choice of a server, which is made anew for each. Drafts of one shape and one sender domain pass
    the gates alike, so a bulk request asks once for all of them, and for each body `with_body`.
    """
    return (
        draft.sender.email, draft.stream, draft.purpose, draft.server, draft.send_at_ms, draft.mail_from,
        draft.smtp_login_id, count,
    )  # fmt: skip


def body_of(draft: Draft) -> tuple[Hashable, ...]:
    """What the body of a draft is made of."""
    return draft.html, draft.text, draft.raw, tuple(draft.attachments)


def recipients(draft: Draft) -> list[str]:
    """Each address once, in the order To, Cc, Bcc; over SMTP the envelope decides."""
    if len(draft.to) == 1 and not draft.cc and not draft.bcc and draft.envelope_to is None:
        return [draft.to[0].email]
    if draft.envelope_to is not None:
        return list(dict.fromkeys(draft.envelope_to))
    return list(dict.fromkeys(box.email for box in (*draft.to, *draft.cc, *draft.bcc)))


def _body(draft: Draft) -> tuple[bytes, str]:
    if draft.raw is not None:
        return draft.raw, KIND_MIME
    return container.serialise(draft.html, draft.text, draft.attachments), KIND_PARTS


def _first(sender: senders.Sender, audience: Audience | None) -> audiences.Reached | None:
    """Of a list, whoever may be written to; a list of which everybody is suppressed is refused like any message.

    Looked for before the transaction: where nobody is left, the whole list is read, and nobody shall wait for that.
    """
    if audience is None:
        return None
    first = audiences.first_reached(audience, domain_id=sender.id)
    if first is None and audiences.size(audience):
        raise errors.SuppressedRecipient()
    return first


def admit(tx: db.Transaction, prepared: Prepared) -> Admitted:
    """Idempotency, audience, quota and suppression, inside the accepting transaction; spends the quota.

    May run twice: it changes nothing but the database and overwrites its own verdicts.
    """
    draft, caller, trail = prepared.draft, prepared.caller, prepared.trail
    earlier = _claim(tx, prepared)
    if earlier is not None:
        return Admitted(earlier)
    found = Admitted(count=len(prepared.recipients))
    if draft.list_id is not None:
        if prepared.audience is not None:
            found.count, found.upto = audiences.hold(tx, prepared.audience)
            found.count = min(found.count, prepared.matching) if prepared.matching is not None else found.count
        if not found.count:
            raise errors.ListUnusable(what="list")
    left = {} if draft.metered else quotas.spend(
        tx, account_id=caller.account_id, plan=caller.plan, emails=found.count
    )  # fmt: skip
    trail[verdicts.QUOTA] = quota(caller, left)
    if draft.metered:
        trail[verdicts.QUOTA] = {"gate": verdicts.QUOTA, "decision": "for_each", "rule": caller.plan.name}
    found.blocked = suppressions.check(
        tx, account_id=caller.account_id, domain_id=prepared.sender.id, addresses=prepared.recipients
    )
    found.suppressed = [rcpt for rcpt in prepared.recipients if rcpt in found.blocked]
    if found.suppressed and len(found.suppressed) == found.count:
        raise errors.SuppressedRecipient(addresses=found.suppressed)
    trail[verdicts.SUPPRESSION] = suppression(draft, found)
    return found


def quota(caller: Caller, left: dict[str, int]) -> verdicts.Stored:
    """The verdict on what the plan still allows, by period; empty where it has no limit."""
    if not left:
        return {"gate": verdicts.QUOTA, "decision": "unlimited", "rule": caller.plan.name}
    return {"gate": verdicts.QUOTA, "rule": caller.plan.name, "left": left}


def suppression(draft: Draft, found: Admitted) -> verdicts.Stored:
    """The verdict on who of the recipients is left."""
    stored: verdicts.Stored = {"gate": verdicts.SUPPRESSION}
    if draft.list_id is not None:  # decided for each subscriber, when its delivery is made
        return stored | {"decision": "for_each", "rule": "list", "list": draft.list_id, "recipients": found.count}
    if found.suppressed:
        stored |= {"decision": "partly", "rule": "suppression_list"}
    return stored | {"blocked": len(found.suppressed)}


def _claim(tx: db.Transaction, prepared: Prepared) -> str | None:
    request, trail = prepared.request, prepared.trail
    if request is None:
        trail[verdicts.IDEMPOTENCY] = no_key()
        return None
    earlier = idempotency.claim(tx, request, now_ms=prepared.now_ms)
    trail[verdicts.IDEMPOTENCY] = replayed(request) if earlier is not None else first(request, prepared.now_ms)
    return earlier


def no_key() -> verdicts.Stored:
    """The verdict on a request that is a new one every time."""
    return {"gate": verdicts.IDEMPOTENCY, "decision": "no_key"}


def first(request: idempotency.Request, now_ms: int) -> verdicts.Stored:
    """The verdict on a request that nothing was answered to before."""
    return {
        "gate": verdicts.IDEMPOTENCY, "decision": "first", "rule": "Idempotency-Key", "key": request.key,
        "until_ms": now_ms + idempotency.KEEP_MS,
    }  # fmt: skip


def replayed(request: idempotency.Request) -> verdicts.Stored:
    """The verdict on a request that was answered before."""
    return {"gate": verdicts.IDEMPOTENCY, "decision": "replayed", "rule": "Idempotency-Key", "key": request.key}


def answered(caller: Caller, draft: Draft) -> str | None:
    """The MessageID that the same request got before, where what it names may have changed since.

    For everything else `admit` finds it: a key costs no second read there.
    """
    request = idempotency.of_draft(caller.account_id, draft)
    if request is None or (draft.template_id is None and draft.list_id is None):
        return None
    return idempotency.replay(request)
