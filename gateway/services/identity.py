"""Who is calling: credentials to an account with its plan, cached for at most a second."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from gateway import clock, errors, vault
from gateway.services import audit_calls, key_usage, scratchpad
from models import database as db
from models.vocabulary import ACCOUNT_DISABLED, ROLE_OPERATOR

CACHE_MS = 900
"""How long a found credential is believed; a revoked key stops within a second everywhere."""

OCTETH = "octeth"
_CACHED_MOST = 20_000
_NOTED_EVERY_MS = 60_000

_log = logging.getLogger("commandpost.identity")


@dataclass(frozen=True, slots=True)
class Limits:
    """The account's plan; None is without limit. `requests` are per key in `request_window` seconds."""

    name: str = ""
    max_domains: int | None = None
    max_webhooks: int | None = None
    requests: int | None = None
    request_window: int = 60
    emails_minute: int | None = None
    emails_hour: int | None = None
    emails_day: int | None = None
    emails_month: int | None = None
    max_to: int | None = None
    max_cc: int | None = None
    max_bcc: int | None = None
    max_reply_to: int | None = None
    max_size: int | None = None  # bytes of one message
    events: int | None = None  # 0: off
    risk: int | None = None  # 0: off


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking now. `domain_id` is set for a sender key; empty `scopes` mean all of its surface.

    A key of several domains has them in `domain_ids`, and a `domain_id` that no domain has: whoever does not know of
    it finds nothing, never everything.
    """

    account_id: int
    email: str
    role: str
    status: str
    plan: Limits
    options: dict[str, Any] = field(default_factory=dict)
    key_id: int | None = None
    domain_id: int | None = None
    surface: str | None = None
    scopes: frozenset[str] = frozenset()
    live: bool = True
    strict: bool = False
    defaults: dict[str, str] = field(default_factory=dict)  # ListID, SubscriberID, JourneyID, ActionID where set
    domain_ids: tuple[int, ...] = ()

    @property
    def is_operator(self) -> bool:
        return self.role == ROLE_OPERATOR

    def covers(self, domain_id: int | None) -> bool:
        """Whether it may act for that domain of its account; None stands for all of them."""
        return self.domain_id is None or self.domain_id == domain_id or domain_id in self.domain_ids

    def allows(self, permission: str) -> bool:
        """Whether the key may do this: `read` stands for every `read:…`; a key without scopes may do all."""
        return not self.scopes or permission in self.scopes or permission.partition(":")[0] in self.scopes

    def must_reach(self, *, live: bool) -> None:
        """Raise `NotAllowed` where a test key would have something live send."""
        if live and not self.live:
            raise errors.NotAllowed("A test key changes and begins nothing that is live.")


SEVERAL_DOMAINS = -1
"""The `domain_id` of a caller whose key holds for several domains."""

_PLAN = tuple(item.name for item in fields(Limits))
_ACCOUNT = "a.id, a.email, a.role, a.status, a.options, " + ", ".join(f"p.{name}" for name in _PLAN)
_JOIN = "JOIN account a ON a.id = {}.account_id JOIN plan p ON p.id = a.plan_id"
_KEY = (
    f"SELECT {_ACCOUNT}, k.id, k.domain_id, k.domain_ids, k.surface, k.scopes, k.live, k.strict, k.list_id,"
    f" k.subscriber_id, k.journey_id, k.action_id, k.expires_ms FROM api_key k {_JOIN.format('k')}"
    " WHERE k.fingerprint IN ({}) AND k.revoked_ms IS NULL"
)
_SESSION = f"SELECT {_ACCOUNT}, s.expires_ms FROM session s {_JOIN.format('s')} WHERE s.token_hash IN ({{}})"
_BY_ID = f"SELECT {_ACCOUNT} FROM account a JOIN plan p ON p.id = a.plan_id WHERE a.id = ?"
_KEY_AT = 5 + len(_PLAN)


class _Cache:
    """Found credentials of this process. Misses are not kept: a new key works at once."""

    def __init__(self) -> None:
        self._owner: object = None
        self._found: dict[tuple[str, Any], tuple[int, Caller]] = {}
        self.noted: dict[int, int] = {}

    def get(self, key: tuple[str, Any], load: Callable[[], tuple[Caller, int | None] | None]) -> Caller | None:
        if self._owner is not db.database.obj:
            self.clear()
            self._owner = db.database.obj
        now = clock.now_ms()
        hit = self._found.get(key)
        if hit is not None and now < hit[0] <= now + CACHE_MS:
            return hit[1]
        loaded = load()
        if loaded is None:
            self._found.pop(key, None)
            return None
        caller, expires_ms = loaded
        if len(self._found) >= _CACHED_MOST:
            self._found.clear()
        self._found[key] = (min(now + CACHE_MS, expires_ms or now + CACHE_MS), caller)
        return caller

    def clear(self) -> None:
        self._found.clear()
        self.noted.clear()


_cache = _Cache()


def authenticate(
    *, session_id: str | None = None, api_key: str | None = None, admin_api_key: str | None = None
) -> Caller:
    """The account behind any of the three credentials; one valid one is enough.

    `api_key` is an account's own key, `admin_api_key` one of an operator. Raises `NotAuthenticated`;
    a disabled account is not told from an unknown one.
    """
    caller = _usable(_session(session_id)) if session_id else None
    if admin_api_key and (caller is None or not caller.is_operator):
        operator = _usable(_key(admin_api_key, sender=False))
        if operator is not None and operator.is_operator:
            caller = operator
    if caller is None and api_key:
        caller = _usable(_key(api_key, sender=False))
    if caller is None:
        raise errors.NotAuthenticated
    audit_calls.authenticated(caller)
    return caller


def _usable(caller: Caller | None) -> Caller | None:
    return None if caller is None or caller.status == ACCOUNT_DISABLED else caller


def authenticate_sender(*, keys: Sequence[str], surfaces: Collection[str] = (OCTETH,)) -> Caller:
    """The caller of a sender-domain key of one of `surfaces`; a valid key wins over invalid ones.

    Raises `NotAuthenticated` when none is valid or two belong to different domains. The states of
    account and domain are left to the service.
    """
    found: list[Caller] = []
    for text in dict.fromkeys(keys):
        caller = _key(text, sender=True) if text else None
        if caller is not None and caller.surface in surfaces:
            found.append(caller)
    if not found or len({caller.domain_id for caller in found}) > 1:
        raise errors.NotAuthenticated
    audit_calls.authenticated(found[0])
    return found[0]


def authenticate_key(*, key: str, surfaces: Collection[str]) -> Caller:
    """The caller of one key of `surfaces`, of an account or of a domain.

    Raises `NotAuthenticated`, for a disabled account too. The state of the domain is left to the service.
    """
    for sender in (True, False):
        caller = _usable(_key(key, sender=sender, surfaces=surfaces)) if key else None
        if caller is not None:
            audit_calls.authenticated(caller)
            return caller
    raise errors.NotAuthenticated


def for_account(account_id: int) -> Caller:
    """The account itself as a caller without a key; raises `NotFound`."""

    def load() -> tuple[Caller, int | None] | None:
        found = db.rows(_BY_ID, (account_id,))
        return (_account(found[0]), None) if found else None

    caller = _cache.get(("account", account_id), load)
    if caller is None:
        raise errors.NotFound("There is no such account.", what="account")
    return caller


def forget() -> None:
    """Drop what this process has cached, after it changed a credential itself."""
    _cache.clear()


def _session(token: str) -> Caller | None:
    if len(token) > 64:
        return None

    def load() -> tuple[Caller, int | None] | None:
        prints = vault.fingerprints(token)
        found = db.rows(_SESSION.format(", ".join("?" * len(prints))), prints)
        if not found or found[0][_KEY_AT] <= clock.now_ms():
            return None
        return _account(found[0]), int(found[0][_KEY_AT])

    return _cache.get(("session", token), load)


def _key(text: str, *, sender: bool, surfaces: Collection[str] | None = None) -> Caller | None:
    """Of no surfaces in particular: any sender key, and an account's own key of the command API."""
    if len(text) > 255:
        return None

    def load() -> tuple[Caller, int | None] | None:
        prints = vault.fingerprints(text)
        found = db.rows(_KEY.format(", ".join("?" * len(prints))), prints)
        if not found or (found[0][-1] is not None and found[0][-1] <= clock.now_ms()):
            return None
        return _with_key(found[0]), found[0][-1]

    caller = _cache.get(("key", text), load)
    if caller is None or (caller.domain_id is not None) is not sender:
        return None
    allowed = surfaces if surfaces is not None else None if sender else (OCTETH,)
    if allowed is not None and caller.surface not in allowed:
        return None
    _note_use(caller.key_id)
    return caller


def _account(row: tuple[Any, ...]) -> Caller:
    return Caller(
        account_id=row[0],
        email=row[1],
        role=row[2],
        status=row[3],
        options=json.loads(row[4] or "{}"),
        plan=Limits(*row[5:_KEY_AT]),
    )


def _with_key(row: tuple[Any, ...]) -> Caller:
    key_id, domain_id, several, surface, scopes, live, strict, *defaults, _ = row[_KEY_AT:]
    names = ("ListID", "SubscriberID", "JourneyID", "ActionID")
    return Caller(
        account_id=row[0],
        email=row[1],
        role=row[2],
        status=row[3],
        options=json.loads(row[4] or "{}"),
        plan=Limits(*row[5:_KEY_AT]),
        key_id=key_id,
        domain_id=SEVERAL_DOMAINS if several else domain_id,
        domain_ids=tuple(json.loads(several)) if several else (),
        surface=surface,
        scopes=frozenset(json.loads(scopes or "[]")),
        live=bool(live),
        strict=bool(strict),
        defaults={name: value for name, value in zip(names, defaults, strict=True) if value},
    )


_NOTE_SQLITE = (
    "INSERT INTO key_use (key_id, used_ms) VALUES (?, ?) ON CONFLICT (key_id) DO UPDATE SET used_ms = excluded.used_ms"
)
_NOTE_MYSQL = "INSERT INTO key_use (key_id, used_ms) VALUES (?, ?) ON DUPLICATE KEY UPDATE used_ms = VALUES(used_ms)"


def _note_use(key_id: int | None) -> None:
    """Count the use, and mark the key as used, at most once a minute in this process; a failure is only logged."""
    key_usage.count_call(key_id)
    now = clock.now_ms()
    if key_id is None or now - _cache.noted.get(key_id, -_NOTED_EVERY_MS) < _NOTED_EVERY_MS:
        return
    _cache.noted[key_id] = now
    try:
        scratchpad.write(_NOTE_MYSQL if db.dialect() == "mysql" else _NOTE_SQLITE, (key_id, now))
    except Exception:
        _log.warning("key_use_not_noted", extra={"key_id": key_id}, exc_info=True)
