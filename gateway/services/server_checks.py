"""Trying a sending server out: connect and log in, and send nothing."""

from __future__ import annotations

from dataclasses import dataclass

from gateway import clock, config
from gateway.services import sending_servers, server_transports
from gateway.services.identity import Caller
from gateway.transports.mx import Direct
from gateway.transports.outcome import Outcome
from gateway.transports.provider import Provider
from gateway.transports.smarthost import Smarthost
from models import database as db
from models.vocabulary import DOMAIN_ENABLED


@dataclass(frozen=True, slots=True)
class Tried:
    """`ok`: the server would take a message of ours; `detail` is what it said, or what stands in the way."""

    ok: bool
    detail: str
    remote: str
    tls: str
    ms: int


def check(*, caller: Caller, server_id: str) -> Tried:
    """Try a server as it is stored, within half a minute or so. Raises `NotFound`, `NotAllowed`.

    One of the kind `mx` tries the mail exchangers of the account's own first domain.
    """
    sending_servers.must_be_account_wide(caller)
    server = sending_servers.find(caller=caller, server_id=server_id)
    started = clock.now_ms()
    transport = server_transports.build(server.id).inner
    if isinstance(transport, Smarthost):
        return _told(transport.check(), started)
    if isinstance(transport, Direct):
        return _told(transport.check(_own_domain(caller)), started)
    if isinstance(transport, Provider):
        found = transport.check()
        return Tried(found.ok, found.detail, transport.endpoint, "", clock.now_ms() - started)
    return Tried(True, "messages are kept for reading", "", "", clock.now_ms() - started)


def _told(outcome: Outcome, started_ms: int) -> Tried:
    detail = " ".join(part for part in (str(outcome.code or ""), outcome.reply) if part)
    return Tried(outcome.taken, detail, outcome.remote, outcome.tls, clock.now_ms() - started_ms)


def _own_domain(caller: Caller) -> str:
    rows = db.rows(
        "SELECT name FROM sender_domain WHERE account_id = ? AND status = ? AND deleted_ms IS NULL ORDER BY id LIMIT 1",
        (caller.account_id, DOMAIN_ENABLED),
    )
    return rows[0][0] if rows else config.settings().hostname
