"""Request rates: fixed windows counted on the scratch table, exact across processes."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from gateway import clock, config, errors
from gateway.services import scratchpad
from gateway.services.identity import Caller
from models import database as db

LOGIN_MINUTES = 15
"""The window in which failed logins are counted."""

_ROOM = 1000
"""Counters taken out of a full table at once."""

# On MySQL assignments run from left to right, so `n` must still see the old expiry.
_COUNT_SQLITE = (
    "INSERT INTO rate_counter (key, n, expires_ms) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
    " n = CASE WHEN expires_ms <= ? THEN excluded.n ELSE n + excluded.n END,"
    " expires_ms = CASE WHEN expires_ms <= ? THEN excluded.expires_ms ELSE expires_ms END RETURNING n, expires_ms"
)
_COUNT_MYSQL = (
    "INSERT INTO rate_counter (`key`, n, expires_ms) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE"
    " n = LAST_INSERT_ID(CASE WHEN expires_ms <= ? THEN VALUES(n) ELSE n + VALUES(n) END),"
    " expires_ms = CASE WHEN expires_ms <= ? THEN VALUES(expires_ms) ELSE expires_ms END"
)


@dataclass(frozen=True, slots=True)
class RateState:
    """Where a key stands in its window; `limit` None is without limit, `reset` the seconds until the window ends."""

    limit: int | None = None
    remaining: int = 0
    reset: int = 0
    window: int = 0


class _ScratchStorage(Storage):
    """The `limits` library's storage on our scratch table; `hit` tells what the last count left."""

    @property
    def base_exceptions(self) -> type[Exception]:
        return db.StoreUnavailable

    def count(self, key: str, seconds: int, amount: int = 1) -> tuple[int, int]:
        """Count in one atomic statement; the number in this window and when it ends, in milliseconds."""
        now = clock.now_ms()
        values = (key, amount, now + seconds * 1000, now, now)
        if db.dialect() == "mysql":
            _, changed, number = self._write_mysql(values)
            # One changed row is a new one, two an updated one: only that sets the insert id.
            return (amount if changed == 1 else int(number)), self._expires(key) or values[2]
        ((number, expires_ms),), _, _ = scratchpad.write(_COUNT_SQLITE, values)
        return int(number), int(expires_ms)

    @staticmethod
    def _write_mysql(values: tuple[Any, ...]) -> Any:
        """Count; where strangers' failed logins have filled the table in memory, the counters that end first go."""
        try:
            return scratchpad.write(_COUNT_MYSQL, values)
        except db.StoreUnavailable:
            scratchpad.write(f"DELETE FROM rate_counter ORDER BY expires_ms LIMIT {_ROOM}")
            return scratchpad.write(_COUNT_MYSQL, values)

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        return self.count(key, int(expiry), amount)[0]

    def get(self, key: str) -> int:
        found = scratchpad.rows("SELECT n FROM rate_counter WHERE `key` = ? AND expires_ms > ?", (key, clock.now_ms()))
        return int(found[0][0]) if found else 0

    def get_expiry(self, key: str) -> float:
        return (self._expires(key) or clock.now_ms()) / 1000

    def check(self) -> bool:
        return scratchpad.rows("SELECT 1") == [(1,)]

    def reset(self) -> int | None:
        return int(scratchpad.write("DELETE FROM rate_counter")[1])

    def clear(self, key: str) -> None:
        scratchpad.write("DELETE FROM rate_counter WHERE `key` = ?", (key,))

    def _expires(self, key: str) -> int | None:
        found = scratchpad.rows("SELECT expires_ms FROM rate_counter WHERE `key` = ?", (key,))
        return int(found[0][0]) if found else None


_storage = _ScratchStorage()
_limiter = FixedWindowRateLimiter(_storage)


def admit(caller: Caller) -> RateState:
    """Count one request of the caller's key, or of its account.

    Raises `RateLimited(retry_after=, attempts=)` over the plan's rate.
    The window starts with its first request. Without a limit nothing is counted.
    """
    limit = caller.plan.requests
    if limit is None:
        return RateState()
    window = caller.plan.request_window
    # Maillayer's plans limit the account, all others a key.
    by_key = caller.key_id is not None and caller.surface != "maillayer"
    who = f"key:{caller.key_id}" if by_key else f"account:{caller.account_id}"
    # A plan with another window begins to count anew: what filled a minute must not fill each second of it.
    number, expires_ms = _storage.count(f"rate:{who}:{window}", window)
    reset = max(1, -(-(expires_ms - clock.now_ms()) // 1000))
    if number > limit:
        raise errors.RateLimited(retry_after=reset, attempts=limit, limit=limit, window=window)
    return RateState(limit, limit - number, reset, window)


def login_key(door: str, username: str, ip: str) -> str:
    """What failed logins are counted under: a user name, in any case and with any space around it, from one address.

    Of an IPv6 address its /64 counts: that is what one customer of a provider has, addresses without end.
    """
    who = f"{username.strip().lower()}\0{network(ip)}"
    return f"{door}:" + hashlib.sha256(who.encode("utf-8", "replace")).hexdigest()[:40]


def network(ip: str) -> str:
    """What is counted as one peer: an IPv4 address, the /64 of an IPv6 address."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if address.version == 4:
        return ip
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def address_key(door: str, ip: str) -> str:
    """What the failed logins of one address are counted under, whatever names it tries."""
    return f"{door}@{network(ip)}"


def check_login(who: str, times: int = 1) -> None:
    """Raises `RateLimited` once too many logins of `who` have failed; `times` as many are allowed as of one name."""
    if not _limiter.test(_login_limit(times), who):
        raise _too_many_logins(who, times)


def note_failure(who: str, times: int = 1) -> None:
    """Count a failed login."""
    _limiter.hit(_login_limit(times), who)


def attempt_login(who: str) -> None:
    """Count a login before it is checked, so that parallel guesses cannot pass together; raises `RateLimited`."""
    if not _limiter.hit(_login_limit(), who):
        raise _too_many_logins(who)


def forgive(who: str) -> None:
    """Forget the failures after a login that succeeded."""
    _limiter.clear(_login_limit(), who)


def _login_limit(times: int = 1) -> RateLimitItem:
    return RateLimitItemPerMinute(config.settings().login_attempts * times, LOGIN_MINUTES, namespace="login")


def _too_many_logins(who: str, times: int = 1) -> errors.RateLimited:
    reset = _limiter.get_window_stats(_login_limit(times), who).reset_time
    seconds = max(1, round(reset - clock.now_ms() / 1000))
    return errors.RateLimited(
        f"Too many failed logins. Wait for {seconds} seconds.",
        retry_after=seconds,
        attempts=config.settings().login_attempts * times,
    )
