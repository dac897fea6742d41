"""The call that is being served in this thread, as the audit log will tell it."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from gateway import clock
from gateway.services import spool

if TYPE_CHECKING:
    from gateway.services.identity import Caller

OK, REFUSED, FAILED = "ok", "refused", "failed"

_log = logging.getLogger("commandpost.audit")
place = spool.Place("audit")
"""A call that changed nothing goes here: a write to the database for each would cost more than the call."""

LOGIN_MS = 3_600_000
_LOGINS_MOST = 10_000
_logins: dict[tuple[str, str], int] = {}  # (name, address): when it was kept last, by this process
_current: ContextVar[Call | None] = ContextVar("audit_call", default=None)


@dataclass(slots=True)
class Call:
    """One request from its beginning. Without a `caller` or an `actor` nobody was recognised: it is not kept."""

    door: str  # command | rest | v1 | smtp | cli
    ip: str = ""
    request_id: str = ""
    actor: str = ""  # else the address of the caller's account
    caller: Caller | None = None
    action: str = ""
    what: str = ""  # the object, such as domain:12
    result: str = OK
    status: int | None = None
    code: str = ""
    account_id: int = 0  # without a caller


def begin(door: str, *, ip: str = "", request_id: str = "", actor: str = "") -> Call:
    """What this thread does from now on belongs to that call."""
    call = Call(door, ip, request_id, actor)
    _current.set(call)
    return call


def current() -> Call | None:
    return _current.get()


def end() -> Call | None:
    """The call of this thread, which has none from now on."""
    call = _current.get()
    _current.set(None)
    return call


def authenticated(caller: Caller) -> None:
    """Whoever calls is known now."""
    call = _current.get()
    if call is not None:
        call.caller = caller


def about(what: str) -> None:
    """What the call is about, unless that is known already."""
    call = _current.get()
    if call is not None and not call.what:
        call.what = what


def logged_in(*, account_id: int, username: str, ip: str) -> None:
    """Somebody logged in at the SMTP door: kept at most once in `LOGIN_MS` for a name and an address."""
    now, who = clock.now_ms(), (username, ip)
    last = _logins.get(who)
    if last is not None and 0 <= now - last < LOGIN_MS:
        return
    if len(_logins) >= _LOGINS_MOST:
        _logins.clear()
    _logins[who] = now
    call = Call("smtp", ip, actor=f"smtp:{username}"[:254], account_id=account_id)
    call.action, call.what = "smtp.login", f"smtp:{username}"
    keep(call)


def keep(call: Call) -> bool:
    """Take the call down, whether or not the database is there; False where it could not be. Never raises."""
    caller = call.caller
    try:
        line = orjson.dumps(
            [
                clock.now_ms(),
                caller.account_id if caller is not None else call.account_id,
                call.actor or (caller.email if caller is not None else ""),
                caller.key_id if caller is not None else None,
                call.door,
                call.action,
                call.what,
                call.ip,
                call.request_id,
                call.result,
                call.status,
                call.code,
            ]
        )
        return place.append(line)
    except (OSError, orjson.JSONEncodeError):  # what was asked for is done, or refused, all the same
        _log.exception("audit_call_not_kept", extra={"action": call.action})
        return False
