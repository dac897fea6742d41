"""Which server a message would go over, and why: asked without sending anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway import errors, ids
from gateway.services import routes, routing_match, routing_tables, senders
from gateway.services.identity import Caller
from gateway.services.verdicts import Stored, Verdict, read
from models.vocabulary import Stream


@dataclass(frozen=True, slots=True)
class Preview:
    """The verdict of the route gate for one recipient; of several equal servers the one of this very message."""

    recipient: str
    verdict: Verdict
    candidates: list[str]  # names of the servers that may take it, in the order of this message


def preview(
    *,
    caller: Caller,
    sender_domain: str,
    recipients: Sequence[str],
    purpose: str = "",
    server: str = "",
    tags: Sequence[str] = (),
    size: int = 0,
    list_id: int | None = None,
) -> list[Preview]:
    """`sender_domain` may be an address of it. Raises `NotFound` (the domain), `Invalid` for a server there is not."""
    sender_domain = sender_domain.rpartition("@")[2].strip().lower()
    domain_id = senders.of_address(account_id=caller.account_id, domain=sender_domain)
    if domain_id is None or not caller.covers(domain_id):
        raise errors.NotFound("There is no such sender domain.", what="domain")
    table = routing_tables.committed(caller.account_id)
    stream = Stream.TRANSACTIONAL if list_id is None else Stream.BULK
    mail = routing_match.Mail(
        domain_id, sender_domain, routing_match.purpose_word(purpose, stream), tuple(tags), size, list_id
    )
    if table is None:
        if server:
            raise routes.no_such(server)
        none: Stored = {"gate": "route", "decision": "installation", "rule": "no_server", "route": "default"}
        return [Preview(one, read(none), []) for one in recipients]
    uuid = ids.new_uuid().bytes
    plan = routes.Plan(table, mail, uuid, server)
    found: list[Preview] = []
    for one in recipients:
        choice = plan.choose(one)
        told = routes.verdict(table, plan, {one: choice})
        some = [] if choice is None else routes.order(routes.shares(table, choice.basis), routes.seed_of(uuid, one))
        if choice is not None and choice.basis == routes.ONLY:
            some = [choice.server]
        found.append(Preview(one, read(told), [candidate.name for candidate in some]))
    return found
