"""MTA-STS (RFC 8461): the policies by which recipient domains insist on TLS to named exchangers."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Protocol

from gateway import clock
from gateway.config import Networks
from gateway.dns.resolver import DnsUnavailable, resolver
from gateway.transports import http_call

FETCH_SECONDS = 10.0
FAILED_MS = 300_000
"""How long a failed fetch is not repeated (RFC 8461 §3.3: at least five minutes)."""

LONGEST_AGE = 31_557_600
"""Seconds: the largest max_age (RFC 8461 §3.2)."""

_TRUST_MS = 60_000  # how long what the store said is believed
_REFRESH_MS = clock.DAY_MS  # a policy in use is asked for anew each day, long before it runs out
_MOST = 4096
_RECORD = re.compile(r"v=STSv1\s*;")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_MODES = ("none", "testing", "enforce")


class BadPolicy(ValueError):
    """What was fetched is no policy."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A domain's policy as it was fetched under the id of its TXT record."""

    id: str
    mode: str  # none | testing | enforce
    mx: tuple[str, ...]  # lower-case patterns
    fetched_ms: int
    expires_ms: int

    def covers(self, host: str) -> bool:
        """Whether the exchanger is one of the policy's (RFC 8461 §4.1): a wildcard stands for one label."""
        return any(
            host.partition(".")[2] == pattern[2:] if pattern.startswith("*.") else host == pattern
            for pattern in self.mx
        )


class Store(Protocol):
    """Keeps policies for all processes and over restarts."""

    def load(self, domain: str) -> Policy | None: ...

    def save(self, domain: str, policy: Policy) -> None: ...


class Forgetful:
    """A store that keeps nothing."""

    def load(self, domain: str) -> Policy | None:
        return None

    def save(self, domain: str, policy: Policy) -> None:
        """Nothing is kept."""


class MtaSts:
    """The policies in force; safe between threads. `allow` and `port` are those of the policy hosts."""

    def __init__(self, store: Store | None = None, *, allow: Networks = (), port: int = 443) -> None:
        self._store: Store = store if store is not None else Forgetful()
        self._allow = allow
        self._port = port
        self._known: OrderedDict[str, tuple[int, Policy | None]] = OrderedDict()  # when it was asked for
        self._failed: OrderedDict[str, int] = OrderedDict()
        self._unanswered: OrderedDict[str, int] = OrderedDict()
        self._locks: OrderedDict[str, threading.Lock] = OrderedDict()
        self._lock = threading.Lock()

    def policy(self, domain: str) -> Policy | None:
        """The policy that mail to `domain` (lower-case A-labels) is under; None where there is none, or mode none.

        A policy outlives its TXT record, and a new one that cannot be had, until it runs out (§3.3, §5.1).
        Raises what the store raises.
        """
        id_ = self._published(domain)
        kept = self._kept(domain, fresh=True)
        if id_ and self._is_due(domain, id_, kept):
            with self._lock_of(domain):
                kept = self._kept(domain, fresh=False)  # another may have fetched it meanwhile
                if self._is_due(domain, id_, kept):
                    kept = self._fetched(domain, id_) or kept
        return kept if kept is not None and kept.mode != "none" else None

    def _published(self, domain: str) -> str:
        now = clock.now_ms()
        if now - self._unanswered.get(domain, -_TRUST_MS) < _TRUST_MS:
            return ""  # a zone that drops the question would cost its time-out with every message
        try:
            return published(domain)
        except DnsUnavailable:
            with self._lock:
                self._unanswered[domain] = now
                while len(self._unanswered) > _MOST:
                    self._unanswered.popitem(last=False)
            return ""

    def _is_due(self, domain: str, id_: str, kept: Policy | None) -> bool:
        now = clock.now_ms()
        if kept is not None and kept.id == id_:
            age = kept.expires_ms - kept.fetched_ms
            if now < kept.fetched_ms + min(_REFRESH_MS, age // 2):
                return False
        return now - self._failed.get(domain, -FAILED_MS) >= FAILED_MS

    def _kept(self, domain: str, *, fresh: bool) -> Policy | None:
        now = clock.now_ms()
        asked, policy = self._known.get(domain, (-_TRUST_MS, None))
        if not (fresh and 0 <= now - asked < _TRUST_MS):
            policy = self._store.load(domain) or policy
            self._remember(domain, policy)
        return policy if policy is not None and policy.expires_ms > now else None

    def _remember(self, domain: str, policy: Policy | None) -> None:
        with self._lock:
            self._known[domain] = (clock.now_ms(), policy)
            self._known.move_to_end(domain)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)

    def _fetched(self, domain: str, id_: str) -> Policy | None:
        try:
            policy = replace(fetch(domain, allow=self._allow, port=self._port), id=id_)
        except BadPolicy:
            with self._lock:
                self._failed[domain] = clock.now_ms()
                while len(self._failed) > _MOST:
                    self._failed.popitem(last=False)
            return None
        self._store.save(domain, policy)
        self._remember(domain, policy)
        return policy

    def _lock_of(self, domain: str) -> threading.Lock:
        with self._lock:
            lock = self._locks.setdefault(domain, threading.Lock())
            while len(self._locks) > _MOST:
                self._locks.popitem(last=False)
            return lock


def published(domain: str) -> str:
    """The id of the domain's TXT record; empty where there is none, or not exactly one (§3.1).

    Raises `DnsUnavailable`.
    """
    found = [text for text in resolver().txt(f"_mta-sts.{domain}") if _RECORD.match(text)]
    if len(found) != 1:
        return ""
    fields = [part.strip().partition("=") for part in found[0].split(";")]
    ids = [value.strip() for name, _, value in fields if name.strip() == "id"]
    return ids[0] if len(ids) == 1 and _ID.fullmatch(ids[0]) else ""


def fetch(domain: str, *, allow: Networks = (), port: int = 443) -> Policy:
    """Fetch and read the policy of `domain`; raises `BadPolicy` that says why there is none."""
    place = f"mta-sts.{domain}" if port == 443 else f"mta-sts.{domain}:{port}"
    reply = http_call.get(f"https://{place}/.well-known/mta-sts.txt", allow=allow, seconds=FETCH_SECONDS)
    if reply.status is None:
        raise BadPolicy(reply.error)
    if reply.status != 200:  # §3.3: a redirect is not followed
        raise BadPolicy(f"the policy host answered {reply.status}")
    if reply.media_type != "text/plain":
        raise BadPolicy(f"the policy is {reply.media_type or 'of no type'}, it should be text/plain")
    if reply.cut:
        raise BadPolicy(f"the policy has more than {http_call.ANSWER_SIZE} bytes, or broke off")
    return parse(reply.body)


def parse(body: bytes) -> Policy:
    """Read a policy (§3.2), without its id; raises `BadPolicy`."""
    first: dict[str, str] = {}
    mx: list[str] = []
    for line in body.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if name == "mx":
            mx.append(value.lower().rstrip("."))
        else:
            first.setdefault(name, value)
    mode, age = first.get("mode", ""), first.get("max_age", "")
    if first.get("version") != "STSv1" or mode not in _MODES:
        raise BadPolicy("the policy names no version STSv1 or no mode")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise BadPolicy("the policy has no max_age")
    if (not mx and mode != "none") or not all(_PATTERN.fullmatch(pattern) for pattern in mx):
        raise BadPolicy("the policy names no exchanger, or one that is no host name")
    now = clock.now_ms()
    return Policy("", mode, tuple(mx), now, now + min(int(age), LONGEST_AGE) * 1000)
