"""The `Idempotency-Key` of a REST request (draft-ietf-httpapi-idempotency-key-header-07)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import orjson
from flask import g, request

from commands.sending.fields import parsed_key
from gateway import errors
from gateway.mail.draft import Draft
from gateway.services import idempotency
from gateway.services.identity import Caller

HEADER = "Idempotency-Key"


def key(header: str | None) -> str | None:
    """The key, an RFC 8941 string or bare text; raises `Invalid`."""
    if header is None:
        return None
    found = parsed_key(header)
    if found is None:
        raise errors.Invalid(f"The {HEADER} header should have 1 to 255 printable ASCII characters.", field=HEADER)
    return found


def fingerprint(payload: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """Hex SHA-256 of what was asked for, whatever the order of its names."""
    said = {name: value for name, value in payload.items() if name not in without}
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


REPLAYED = {"Idempotent-Replayed": "true"}
"""Header of an answer that an earlier request has had."""


def asked(caller: Caller, endpoint: str) -> idempotency.Request | None:
    """The request under its key, for the endpoint it holds for; None without a key. Raises `Invalid`."""
    found = key(request.headers.get(HEADER))
    if found is None:
        return None
    return idempotency.Request(caller.account_id, endpoint, found, fingerprint(g.payload))


def mark(draft: Draft, endpoint: str) -> None:
    """Put the request's key on the draft, for the endpoint it holds for; raises `Invalid`."""
    found = key(request.headers.get(HEADER))
    if found is not None:
        draft.idempotency_key, draft.idempotency_scope = found, endpoint
        draft.fingerprint = fingerprint(g.payload)
