"""Trying a sending server out: connect and log in, and send nothing."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from gateway import clock, config, errors
from gateway.services import sending_servers, server_transports
from gateway.services.identity import Caller
from gateway.services.sending_servers import SendingServer
from gateway.transports.mx import Direct
from gateway.transports.outcome import Outcome
from gateway.transports.provider import Provider
from gateway.transports.smarthost import Smarthost
from models import database as db
from models.vocabulary import DOMAIN_ENABLED

AT_ONCE = 2
"""Checks that one process makes at a time: each keeps a thread that others wait for."""

_free = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Tried:
    """`ok`: the server would take a message of ours; `detail` is what it said, or what stands in the way."""

    ok: bool
    detail: str
    remote: str
    tls: str
    ms: int


def check(*, caller: Caller, server_id: str) -> Tried:
    """Try a server as it is stored, within half a minute or so.

    One of the kind `mx` tries the mail exchangers of the account's own first domain. Raises `NotFound`, `NotAllowed`,
    and `RateLimited` while others are tried.
    """
    sending_servers.must_be_account_wide(caller)
    server = sending_servers.find(caller=caller, server_id=server_id)
    if not _free.acquire(blocking=False):
        raise errors.RateLimited("Other servers are being tried just now.", retry_after=10)
    try:
        return _check(caller, server)
    finally:
        _free.release()


def _check(caller: Caller, server: SendingServer) -> Tried:
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
