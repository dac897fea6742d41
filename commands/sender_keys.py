"""Who calls with a sender key: `Authorization: Bearer` or `SenderAPIKey`, admitted by the request rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commands.registry import Refused, Visitor
from gateway import errors
from gateway.services import identity, limits
from gateway.services.identity import Caller

MISSING_KEY, INVALID_KEY, TOO_MANY = 1, 13, 429
NOT_ALLOWED_TEXT = "Invalid SenderAPIKey: its permissions do not include this"
TOO_MANY_TEXT = "Too many requests. Wait for {seconds} seconds for another {attempts} attempts."


def presented(authorization: str, fields: Mapping[str, Any]) -> list[str]:
    """The keys that came: the token of `Authorization: Bearer`, then `SenderAPIKey` of query or body."""
    scheme, _, token = authorization.partition(" ")
    keys = [token.strip()] if scheme.lower() == "bearer" and token.strip() else []
    named = fields.get("senderapikey")
    if isinstance(named, str) and named.strip():
        keys.append(named.strip())
    return keys


def enter(visitor: Visitor, fields: Mapping[str, Any], permission: str, *, no_key: int = MISSING_KEY) -> Caller:
    """The caller of the key; raises `Refused` with 13, 429, or `no_key` where none came.

    A valid key wins over an invalid one; two valid keys of different domains are 13.
    """
    keys = presented(visitor.headers.get("Authorization", ""), fields)
    if not keys:
        named = fields.get("senderapikey")
        # A SenderAPIKey that is there but not a text is wrong, not absent.
        absent = named is None or isinstance(named, str)
        raise Refused({no_key if absent else INVALID_KEY: ""})
    try:
        caller = identity.authenticate_sender(keys=keys)
    except errors.NotAuthenticated:
        raise Refused({INVALID_KEY: ""}) from None
    if not caller.allows(permission):
        raise Refused({INVALID_KEY: NOT_ALLOWED_TEXT})
    try:
        limits.admit(caller)
    except errors.RateLimited as error:
        seconds, attempts = error.data.get("retry_after", 1), error.data.get("attempts", 1)
        raise Refused({TOO_MANY: TOO_MANY_TEXT.format(seconds=seconds, attempts=attempts)}) from None
    return caller
