"""Tracking domains: made, found in DNS, served over TLS, and given to the sender domains whose links use them.

A host is anybody's until its CNAME leads to us; from then on it is that account's alone. Whether it is served over
TLS is found out by connecting: who ends TLS in front of us asks `is_allowed` before it gets a certificate for a name.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

import peewee
import pymysql

from gateway import clock, config, errors, ids
from gateway.dns import names
from gateway.dns.resolver import DnsUnavailable, resolver
from gateway.services import domains, senders
from gateway.services.identity import Caller
from gateway.transports.public_address import is_reachable
from models import database
from models.database import Transaction, in_transaction, rows
from models.domain import SenderDomain
from models.tracking_domain import TrackingDomain

PREFIX = "trk"
GRACE = 3
"""Checks in a row that may miss the record before a verified domain counts as gone."""

RECHECK_MS = 24 * 3_600_000
SOON_MS = 60_000
"""After it was verified, until its certificate is there."""

_TIMEOUT_S = 5.0
_AT_ONCE, _LEASE_MS = 8, 10 * 60_000
_log = logging.getLogger("commandpost.tracking")


@dataclass(frozen=True, slots=True)
class Found:
    """What DNS says of a host: `leads` None where it gave no answer."""

    leads: bool | None
    target: str = ""  # of its CNAME, '' without one


@dataclass(frozen=True, slots=True)
class Tls:
    ok: bool
    error: str = ""


def create(*, caller: Caller, name: str) -> TrackingDomain:
    """A host of the account, not verified yet.

    Raises `Invalid`, `TrackingDomainExists`, `NotAllowed` for the key of one domain.
    """
    _account_only(caller)
    host = _name(name)

    def work(tx: Transaction) -> TrackingDomain:
        try:
            return TrackingDomain.create(
                uuid=ids.new_uuid(), account_id=caller.account_id, name=host, created_ms=clock.now_ms()
            )
        except peewee.IntegrityError as error:
            raise errors.TrackingDomainExists() from error

    return in_transaction(work)


def list_(*, caller: Caller) -> list[TrackingDomain]:
    """The account's, the oldest first."""
    query = TrackingDomain.select().where(TrackingDomain.account_id == caller.account_id)
    return list(query.order_by(TrackingDomain.id))


def find(*, caller: Caller, domain_id: str) -> TrackingDomain:
    """By its UUID; raises `NotFound`, for a foreign one too."""
    uuid = ids.uuid_of(PREFIX, domain_id)
    found = TrackingDomain.get_or_none(TrackingDomain.uuid == uuid, TrackingDomain.account_id == caller.account_id)
    if uuid is None or found is None:
        raise errors.NotFound("There is no such tracking domain.", what="tracking_domain")
    return found


def delete(*, caller: Caller, domain_id: str) -> None:
    """Sender domains that used it use the gateway's host from now on; links sent with it work while its CNAME stays.

    Raises `NotFound`, `NotAllowed` for domain keys.
    """
    _account_only(caller)
    found = find(caller=caller, domain_id=domain_id)

    def work(tx: Transaction) -> None:
        tx.execute("DELETE FROM tracking_domain WHERE id = ?", (found.id,))
        _set_tls(tx, found, None, host=None)

    in_transaction(work)
    senders.forget()


def verify(*, caller: Caller, domain_id: str) -> TrackingDomain:
    """Ask DNS now, and try TLS where it leads to us.

    Raises `NotFound`, and `TrackingDomainExists` where another account has verified the name.
    """
    found = find(caller=caller, domain_id=domain_id)
    return _look(found)


def assign(*, caller: Caller, sender_domain_id: int, tracking_domain_id: str | None) -> SenderDomain:
    """Links of the sender domain's mail lead over it from now on; None: over the gateway's host.

    Raises `NotFound`, `TrackingDomainNotVerified`.
    """
    host = None if tracking_domain_id is None else find(caller=caller, domain_id=tracking_domain_id)
    if host is not None and host.verified_name is None:
        raise errors.TrackingDomainNotVerified()

    def work(tx: Transaction) -> SenderDomain:
        domain = domains.locked(tx, caller, sender_domain_id)
        domain.tracking_host = host.name if host is not None else None
        domain.tracking_tls = host.ssl_enabled if host is not None else None
        domain.save()
        return domain

    changed = in_transaction(work)
    senders.forget()
    return changed


def of_sender(domain: SenderDomain) -> UUID | None:
    """The tracking domain that a sender domain uses."""
    if not domain.tracking_host:
        return None
    found = TrackingDomain.get_or_none(
        TrackingDomain.account_id == domain.account_id, TrackingDomain.name == domain.tracking_host
    )
    return found.uuid if found is not None else None


def is_allowed(name: str) -> bool:
    """Whether a certificate may be asked for that name: our own host, or a host that was verified to lead to us."""
    host = name.strip().rstrip(".").lower()
    if not host or len(host) > 253:
        return False
    if host == config.settings().hostname:
        return True
    return bool(rows("SELECT 1 FROM tracking_domain WHERE verified_name = ?", (host,)))


def run(seconds: float) -> int:
    """Look again at what is due, for up to about `seconds`; returns how many. Safe anywhere, twice at once."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        claimed = _claim()
        if not claimed:
            break
        with ThreadPoolExecutor(max_workers=len(claimed), thread_name_prefix="tracking") as pool:
            list(pool.map(_look_quietly, claimed))
        count += len(claimed)
    return count


def _claim() -> list[TrackingDomain]:
    now = clock.now_ms()
    due = rows(
        "SELECT id, next_check_ms FROM tracking_domain WHERE next_check_ms <= ? ORDER BY next_check_ms LIMIT ?",
        (now, _AT_ONCE),
    )
    if not due:
        return []

    def work(tx: Transaction) -> list[int]:
        move = "UPDATE tracking_domain SET next_check_ms = ? WHERE id = ? AND next_check_ms = ?"
        return [id_ for id_, at_ms in due if tx.execute(move, (now + _LEASE_MS, id_, at_ms)).rowcount]

    mine = in_transaction(work)
    return list(TrackingDomain.select().where(TrackingDomain.id.in_(mine))) if mine else []


def _look(domain: TrackingDomain) -> TrackingDomain:
    """Ask DNS, note it, then try TLS: a certificate may be asked for only once we know that the name leads to us."""
    found = _ask(domain.name)
    if not found.leads:
        return _note(domain, found, Tls(False, "it does not lead to us"))
    if domain.verified_name is None:
        _note(domain, found, Tls(False, "not tried yet"))
    return _note(domain, found, _try_tls(domain.name))


def _look_quietly(domain: TrackingDomain) -> None:
    try:
        _look(domain)
    except errors.GatewayError as error:
        _log.warning("tracking_domain_not_noted", extra={"domain": domain.name, "why": error.message})
    finally:
        database.close()


def _ask(name: str) -> Found:
    wanted = config.settings().hostname
    asked = resolver().uncached()
    try:
        target = asked.cname(name) or ""
        return Found(target == wanted, target)
    except DnsUnavailable:
        return Found(None)


def _try_tls(name: str) -> Tls:
    """A handshake as a browser would make it; the certificate has to be of the name and of a known authority."""
    settings = config.settings()
    try:
        addresses = [one for one in resolver().addresses(name) if is_reachable(one, settings.webhook_allow)]
    except DnsUnavailable:
        return Tls(False, "its address is not known now")
    if not addresses:
        return Tls(False, "it has no public address")
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection((addresses[0], settings.tracking_tls_port), timeout=_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=name),
        ):
            return Tls(True)
    except ssl.SSLCertVerificationError as error:
        return Tls(False, error.verify_message[:255])
    except (OSError, ValueError) as error:
        return Tls(False, str(error)[:255])


def _note(domain: TrackingDomain, found: Found, tls: Tls) -> TrackingDomain:
    now = clock.now_ms()

    def work(tx: Transaction) -> TrackingDomain:
        row = TrackingDomain.get_or_none(TrackingDomain.id == domain.id)
        if row is None:
            raise errors.NotFound("There is no such tracking domain.", what="tracking_domain")
        row.checked_ms = now
        if found.leads:
            row.verified_name, row.failures = row.name, 0
            row.verified_ms = row.verified_ms or now
        elif found.leads is False and row.verified_name is not None:
            row.failures += 1
            if row.failures >= GRACE:
                row.verified_name = row.verified_ms = None
        if found.leads is not None:
            row.ssl_enabled, row.ssl_error = tls.ok, tls.error
        waits = row.verified_name is not None and not row.ssl_enabled
        row.next_check_ms = now + (SOON_MS if waits and row.failures == 0 else RECHECK_MS)
        try:
            row.save()
        except (peewee.IntegrityError, pymysql.err.IntegrityError) as error:
            raise errors.TrackingDomainExists("Another account has verified this tracking domain.") from error
        _set_tls(tx, row, row.ssl_enabled if row.verified_name is not None else False, host=row.name)
        return row

    changed = in_transaction(work)
    senders.forget()
    return changed


def _set_tls(tx: Transaction, domain: TrackingDomain, tls: bool | None, *, host: str | None) -> None:
    """Sender domains that use the host: whether their links go over TLS; with `host` None they use it no more."""
    tx.execute(
        "UPDATE sender_domain SET tracking_host = ?, tracking_tls = ? WHERE account_id = ? AND tracking_host = ?",
        (host, tls, domain.account_id, domain.name),
    )


def _name(text: str) -> str:
    try:
        host = names.sender_name(text)
    except errors.InvalidDomainName:
        raise errors.Invalid("domain should be a host name, for example track.example.com.", field="domain") from None
    if host == config.settings().hostname:
        raise errors.Invalid("That is the gateway's own host.", field="domain")
    return host


def _account_only(caller: Caller) -> None:
    if caller.domain_id is not None:
        raise errors.NotAllowed("Tracking domains are the account's; use a key of the account.")
