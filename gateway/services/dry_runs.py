"""Dry runs: what sending a draft would do, found by the very gates that send it, and nothing kept of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway import clock, config, errors, ids
from gateway.mail import reply_rules
from gateway.mail.draft import Draft
from gateway.services import (
    acceptance,
    alignment,
    audiences,
    gates,
    idempotency,
    rendering,
    routes,
    senders,
    server_transports,
    shaping,
    suppressions,
    tls_forecasts,
    verdicts,
)
from gateway.services.gates import Admitted, Prepared
from gateway.services.identity import Caller
from gateway.services.suppressions import Suppressed
from gateway.services.tls_forecasts import Tls
from gateway.services.verdicts import Stored, Trail
from gateway.transports.destination import NoRoute
from gateway.transports.mx import Direct
from gateway.transports.provider import Provider
from gateway.transports.smarthost import Smarthost
from models import database as db

RECIPIENTS_MOST = 100
"""Fates that a dry run tells; of a longer list the first ones."""

DOMAINS_MOST = 10
"""Recipient domains whose exchangers are looked up."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """`suppressed` None: would be written to."""

    address: str
    suppressed: Suppressed | None


@dataclass(frozen=True, slots=True)
class Destination:
    """Where mail for a domain goes, and what holds it back; `hosts` empty: nowhere, or nobody knows, for a reason."""

    domain: str
    hosts: list[str]
    reason: str = ""
    tls: Tls | None = None  # None: not known, for that reason


@dataclass(frozen=True, slots=True)
class DryRun:
    """`refusal` is what the send would be refused with; then nothing behind the gate that refused is known."""

    verdicts: list[Stored]
    refusal: errors.GatewayError | None = None
    replays: str = ""  # the MessageID that the same request was answered with
    total: int = 0  # recipients
    recipients: list[Recipient] = field(default_factory=list)
    transport: str = ""
    destinations: list[Destination] = field(default_factory=list)
    return_path: str = ""  # the host of the envelope sender
    require_tls: bool = False  # what the sender's domain asks for
    headers: str = ""  # of the first recipient's message, CRLF lines
    size: int = 0  # bytes of that message
    forecast: alignment.Forecast | None = None


class _TakenBack(Exception):
    """Ends the accepting transaction before it writes a message; carries what it decided."""

    def __init__(self, admitted: Admitted) -> None:
        super().__init__()
        self.admitted = admitted


def run(*, caller: Caller, draft: Draft) -> DryRun:
    """Send the draft up to where it would be written. Raises `Unavailable` alone: a refusal is part of the answer."""
    trail: Trail = {}
    try:
        earlier = gates.answered(caller, draft)
        request = idempotency.of_draft(caller.account_id, draft)
        if earlier is not None and request is not None:
            return DryRun([gates.replayed(request)], replays=earlier)
        prepared = gates.prepare(caller, draft, trail)
        admitted = _admit(prepared)
        if admitted.earlier is not None:
            return DryRun(verdicts.ordered(trail), replays=admitted.earlier)
        return _tell(prepared, admitted)
    except errors.Unavailable:
        raise
    except errors.GatewayError as refusal:
        stored = verdicts.refused(refusal)
        return DryRun(verdicts.ordered({**trail, stored["gate"]: stored}), refusal=refusal)


def replay(*, caller: Caller, endpoint: str, key: str, fingerprint: str) -> DryRun | None:
    """The dry run of a request that was answered before; None where it was not."""
    request = idempotency.Request(caller.account_id, endpoint, key, fingerprint)
    earlier = idempotency.replay(request)
    return None if earlier is None else DryRun([gates.replayed(request)], replays=earlier)


def _admit(prepared: Prepared) -> Admitted:
    def work(tx: db.Transaction) -> None:
        raise _TakenBack(gates.admit(tx, prepared))

    try:
        db.in_transaction(work)
    except _TakenBack as end:
        return end.admitted
    raise AssertionError("unreachable")


def _tell(prepared: Prepared, admitted: Admitted) -> DryRun:
    sender, draft = prepared.sender, prepared.draft
    recipients = _recipients(prepared, admitted)
    keys = senders.signing_keys(sender.id)
    questions = alignment.Questions()
    asked = alignment.Asked(
        questions, from_domain=draft.sender.domain, domain=sender.name, return_path=sender.return_path_host, keys=keys
    )
    going = [one.address for one in recipients if one.suppressed is None]
    ways: dict[str, str] = {}
    for address in going:
        ways.setdefault(address.rpartition("@")[2], prepared.route_of(address))
    transport, destinations = _destinations(questions, prepared, ways)
    stored: Stored = {"gate": verdicts.SIGNING, "rule": "dkim", "selectors": [key.selector for key in keys]}
    message, failure = b"", None
    try:
        message = _render(prepared, going[0] if going else "", bool(keys))
    except errors.InvalidTemplate as error:  # the first subscriber's fields: that delivery alone would fail
        failure = error
    if failure is not None:
        stored |= {"decision": "fails_for_first", "text": failure.message}
    elif not keys:
        stored |= {"decision": "no_key", "text": f"{sender.name} has no DKIM key: deliveries wait until it has one"}
    questions.wait()
    return DryRun(
        [*verdicts.ordered(prepared.trail), stored],
        total=admitted.count,
        recipients=recipients,
        transport=transport,
        destinations=[one.get() or Destination(one.name, [], alignment.NO_ANSWER) for one in destinations],
        return_path=sender.return_path_host,
        require_tls=sender.require_tls,
        headers=message.partition(b"\r\n\r\n")[0].decode("utf-8", "replace"),
        size=len(message),
        forecast=asked.forecast(),
    )


def _recipients(prepared: Prepared, admitted: Admitted) -> list[Recipient]:
    """Of a list they are looked up as its deliveries will be, when they are made."""
    caller, draft = prepared.caller, prepared.draft
    if draft.list_id is None:
        return [Recipient(rcpt, admitted.blocked.get(rcpt)) for rcpt in prepared.recipients[:RECIPIENTS_MOST]]
    some = audiences.some(prepared.audience, most=RECIPIENTS_MOST) if prepared.audience is not None else []
    blocked = suppressions.check(
        None, account_id=caller.account_id, domain_id=prepared.sender.id, addresses=some, list_id=draft.list_id
    )
    return [Recipient(rcpt, blocked.get(rcpt)) for rcpt in some]


def _render(prepared: Prepared, rcpt: str, signed: bool) -> bytes:
    """The message of the first recipient who would get one."""
    draft, sender = prepared.draft, prepared.sender
    stored = rendering.Stored(
        0, ids.new_uuid(), sender.id, draft.subject, acceptance.headers(draft), prepared.now_ms, prepared.caller.live,
        prepared.kind, prepared.body,
        track_links=sender.track_links if draft.track_links is None else draft.track_links,
        track_opens=sender.track_opens if draft.track_opens is None else draft.track_opens,
        stream=draft.in_stream,
    )  # fmt: skip
    fields = None
    if prepared.first is not None:
        rcpt, fields = prepared.first.email, prepared.first.fields
    return stored.rendered(0, rcpt, fields) if signed else stored.composed(0, rcpt, fields)


def _destinations(
    questions: alignment.Questions, prepared: Prepared, ways: Mapping[str, str]
) -> tuple[str, list[alignment.Answer[Destination]]]:
    """The transports, and where the mail for each domain goes; `ways` are the routes by domain."""
    settings, required = config.settings(), prepared.sender.require_tls
    direct = Direct(
        hostname=settings.hostname,
        port=settings.mx_port,
        sources=settings.source_addresses,
        dane=settings.validates_tlsa,
    )
    pauses = [limit for limit in shaping.active() if limit.kind == reply_rules.PAUSE]

    def exchangers(domain: str) -> Destination:
        try:
            hosts = [f"{mx.host}:{settings.mx_port}" for mx in direct.exchangers(domain)]
            tls = tls_forecasts.to_exchanger(direct, domain, required=required)
            return Destination(domain, hosts, _pause(pauses, direct.group(domain), domain), tls)
        except NoRoute as nowhere:
            return Destination(domain, [], nowhere.outcome.reply)

    def relay(way: Smarthost, target: str, domain: str) -> Destination:
        tls = tls_forecasts.to_relay(way, required=required or way.options.tls == "required")
        return Destination(domain, [f"{way.host}:{way.port}"], _pause(pauses, target, domain), tls)

    def provider(endpoint: str, target: str, domain: str) -> Destination:
        tls = tls_forecasts.to_provider(endpoint, required=required)
        return Destination(domain, [endpoint], _pause(pauses, target, domain), tls)

    def nowhere(domain: str) -> Destination:
        return Destination(domain, [], tls_forecasts.STAYS.detail, tls_forecasts.STAYS)

    def look(route: str) -> tuple[str, Callable[[str], Destination]]:
        server = routes.parse(route)
        if server is None:
            name = gates.transport_name(settings.delivery, route)
            if name == "smarthost":
                way = Smarthost(settings.delivery, hostname=settings.hostname)
                return name, functools.partial(relay, way, way.host)
            return name, exchangers if name == "direct" else nowhere
        try:
            built = server_transports.build(server.server_id)
        except server_transports.Gone:  # just now
            return "", nowhere
        if isinstance(built.inner, Smarthost):
            return built.name, functools.partial(relay, built.inner, built.target)
        if isinstance(built.inner, Provider):
            return built.name, functools.partial(provider, built.inner.endpoint, built.target)
        return built.name, exchangers if isinstance(built.inner, Direct) else nowhere

    looks = {route: look(route) for route in dict.fromkeys(ways.values() or [prepared.route])}
    names = ", ".join(dict.fromkeys(name for name, _ in looks.values()))
    some = list(ways.items())[:DOMAINS_MOST]
    return names, [questions.ask(functools.partial(looks[route][1], domain), name=domain) for domain, route in some]


def _pause(pauses: Sequence[shaping.Limit], group: str, domain: str) -> str:
    """What holds back the mail to a destination now; of several pauses the one that ends last."""
    targets = {(shaping.MX, group), (shaping.SERVER, group), (shaping.DOMAIN, domain)}
    found = [limit for limit in pauses if (limit.scope, limit.target) in targets]
    if not found:
        return ""
    last = max(found, key=lambda limit: (limit.ends_ms is None, limit.ends_ms or 0, limit.id))
    end = "it is canceled" if last.ends_ms is None else f"{clock.sql_text(last.ends_ms)} UTC"
    return f"held back until {end} ({last.cause}, limit {last.id})"
