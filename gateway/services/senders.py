"""What the hot paths know of a sender domain, read at most once a second by each process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from gateway import clock, errors
from gateway.mail import dkim
from gateway.mail.draft import Mailbox
from gateway.services import domains
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import DOMAIN_ENABLED

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A small map of loaded values, each trusted for `trust_ms`; bounded, safe between threads."""

    def __init__(self, load: Callable[[K], V], *, trust_ms: int, size: int = 4096) -> None:
        self._load = load
        self._trust_ms = trust_ms
        self._size = size
        self._known: dict[K, tuple[int, V]] = {}
        self._lock = threading.Lock()

    def get(self, key: K) -> V:
        found = self._known.get(key)
        now = clock.now_ms()
        if found is not None and 0 <= now - found[0] < self._trust_ms:
            return found[1]
        return self.reload(key)

    def reload(self, key: K) -> V:
        """The value as it is now."""
        now = clock.now_ms()
        value = self._load(key)
        with self._lock:
            if len(self._known) >= self._size:
                self._known.clear()
            self._known[key] = (now, value)
        return value

    def forget(self) -> None:
        with self._lock:
            self._known.clear()


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender domain as accept and delivery see it."""

    id: int
    account_id: int
    name: str
    status: str
    deleted: bool
    return_path_host: str
    track_links: bool
    track_opens: bool
    require_tls: bool
    tracking_host: str = ""  # '': that of the gateway
    unsubscribe_link: bool = False
    track_text: bool = False  # links of plain text too
    honeypot: bool = False
    tracking_tls: bool | None = None  # None: as the gateway's own host

    @property
    def enabled(self) -> bool:
        return self.status == DOMAIN_ENABLED and not self.deleted


def _load(domain_id: int) -> Sender | None:
    rows = db.rows(
        "SELECT id, account_id, name, status, deleted_ms, subdomain, link_tracking, open_tracking, require_tls,"
        " tracking_host, unsubscribe_link, text_link_tracking, honeypot_link, tracking_tls"
        " FROM sender_domain WHERE id = ?",
        (domain_id,),
    )
    for found, account_id, name, status, deleted_ms, subdomain, links, opens, tls, track, *more in rows:
        host = f"{subdomain}.{name}"
        return Sender(
            found, account_id, name, status, deleted_ms is not None, host, bool(links), bool(opens), bool(tls),
            track or "", bool(more[0]), bool(more[1]), bool(more[2]), None if more[3] is None else bool(more[3]),
        )  # fmt: skip
    return None


def _load_owned(key: tuple[int, str]) -> list[tuple[int, str, str]]:
    """(id, name, status) of the account's domains that a host is or lies in, the nearest first."""
    account_id, host = key
    labels = host.split(".")
    names = [".".join(labels[at:]) for at in range(len(labels) - 1)][-20:]
    rows = db.rows(
        "SELECT id, name, status FROM sender_domain WHERE account_id = ? AND deleted_ms IS NULL"
        f" AND name IN ({', '.join('?' * len(names))})",
        (account_id, *names),
    ) if names else []  # fmt: skip
    return sorted(rows, key=lambda row: -len(row[1]))


def _load_keys(domain_id: int) -> tuple[dkim.SigningKey, ...]:
    # Oldest first, so the newest active key of each algorithm signs.
    found = {algorithm: (selector, private) for selector, algorithm, private in domains.dkim_keys(domain_id)}
    return tuple(dkim.load(selector, algorithm, private) for algorithm, (selector, private) in found.items())


_senders: Recent[int, Sender | None] = Recent(_load, trust_ms=1000)
_owned: Recent[tuple[int, str], list[tuple[int, str, str]]] = Recent(_load_owned, trust_ms=1000)
_keys: Recent[int, tuple[dkim.SigningKey, ...]] = Recent(_load_keys, trust_ms=5_000)


def sender(domain_id: int) -> Sender | None:
    """The domain with that id whatever its state, or None; at most a second old while it may send."""
    found = _senders.get(domain_id)
    if found is None or not found.enabled:  # it may have been enabled a moment ago
        found = _load(domain_id)
    return found


def of_address(*, account_id: int, domain: str) -> int | None:
    """The account's sender domain that a From address at `domain` belongs to: itself or the nearest parent."""
    found = _owned.get((account_id, domain))
    return found[0][0] if found else None


def for_address(caller: Caller, sender: Mailbox) -> Caller:
    """The caller as the domain that the From address belongs to, where its key is of more than one domain.

    Of several the nearest that may send, else the nearest: whether it may is for the gates. Raises
    `DomainNotVerified` where the key has none.
    """
    if caller.domain_id is not None and not caller.domain_ids:
        return caller
    key = (caller.account_id, sender.domain)
    for load in (_owned.get, _load_owned):  # it may have been added a moment ago
        found = [row for row in load(key) if caller.covers(row[0])]
        if found:
            chosen = next((row for row in found if row[2] == DOMAIN_ENABLED), found[0])
            return replace(caller, domain_id=chosen[0], domain_ids=())
    raise errors.DomainNotVerified(f"The domain {sender.domain} is not verified for this account.", field="from")


def signing_keys(domain_id: int) -> tuple[dkim.SigningKey, ...]:
    """The loaded DKIM keys that sign for the domain: loading one costs 30 ms, signing a quarter of one."""
    return _keys.get(domain_id)


def forget() -> None:
    _senders.forget()
    _owned.forget()
    _keys.forget()
