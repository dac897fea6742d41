"""What the end-user endpoints share: finding the sender key, the request rate, and their way to refuse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from flask import Request, Response
from werkzeug.exceptions import HTTPException

from commands.sender_keys import NOT_ALLOWED_TEXT, presented
from gateway import errors
from gateway.services import identity, limits
from models.database import StoreUnavailable
from web import rates
from web.errors import allowed_methods, failure_text, retry_after
from web.rest.end_user import blueprint

MISSING_KEY = (1, "Missing SenderAPIKey")
INVALID_KEY = (13, "Invalid SenderAPIKey")
NOT_JSON, NO_METHOD, FAILED, UNDOCUMENTED = 100000, 100001, 100005, 100010

Codes = Iterable[tuple[int, str]]


class Refused(Exception):
    """Leaves the endpoint with these codes; the surface's handler renders it."""

    def __init__(self, codes: Codes, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(list(codes)))
        self.codes = list(codes)
        self.status = status
        self.headers = dict(headers or {})


def answer(body: Mapping[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, mimetype="application/json")


def refuse(
    codes: Codes, status: int, headers: Mapping[str, str] | None = None, more: Mapping[str, Any] | None = None
) -> Response:
    """`{"Errors": [{"Code", "Message"}]}`, each code once, in code order; `more` stands beside them."""
    listed = [{"Code": code, "Message": text} for code, text in sorted(dict(codes).items())]
    response = answer({"Errors": listed, **(more or {})}, status)
    response.headers.update(headers or {})
    return response


def enter(
    request: Request, params: Mapping[str, Any], permission: str, *, no_key: tuple[int, str] = MISSING_KEY
) -> identity.Caller:
    """The caller of the sender key, which has the permission, admitted by the request rate; raises `Refused`.

    `no_key` is what a request without any key is told: 1 on `/email` and `/events`, 13 on `/webhooks`.
    """
    keys = presented(request.headers.get("Authorization", ""), params)
    if not keys:
        # A SenderAPIKey that is there but not a text is wrong, not absent.
        present = params.get("senderapikey") not in (None, "")
        raise Refused([INVALID_KEY if present else no_key], 401)
    try:
        caller = identity.authenticate_sender(keys=keys)
    except errors.NotAuthenticated:
        raise Refused([INVALID_KEY], 401) from None
    if not caller.allows(permission):
        raise Refused([(INVALID_KEY[0], NOT_ALLOWED_TEXT)], 401)
    rates.show(limits.admit(caller))
    return caller


@blueprint.errorhandler(Refused)
def _refused(error: Refused) -> Response:
    return refuse(error.codes, error.status, error.headers)


@blueprint.errorhandler(errors.RateLimited)
def _rate_limited(error: errors.RateLimited) -> Response:
    seconds, attempts = error.data.get("retry_after", 1), error.data.get("attempts", 1)
    text = f"Too many requests. Wait for {seconds} seconds for another {attempts} attempts."
    return refuse([(429, text)], 429, rates.headers_of(error))


@blueprint.errorhandler(errors.GatewayError)
def _undocumented(error: errors.GatewayError) -> Response:
    """A refusal without a number of its own: a wrong type is 422, too large 413, a body that is no JSON 400."""
    code = NOT_JSON if isinstance(error, errors.NotJson) else UNDOCUMENTED
    return refuse([(code, error.message)], error.status)


@blueprint.errorhandler(errors.Unavailable)
@blueprint.errorhandler(StoreUnavailable)
def _unavailable(error: Exception) -> Response:
    return refuse([(FAILED, errors.Unavailable.message)], 503, retry_after(error))


@blueprint.errorhandler(HTTPException)
def http_error(error: HTTPException) -> Response:
    """What HTTP itself refuses: an unknown path, a method that is not served."""
    status = error.code or 500
    code = NO_METHOD if status == 405 else UNDOCUMENTED
    return refuse([(code, error.description or error.name)], status, allowed_methods(error))


@blueprint.errorhandler(Exception)
def _failed(error: Exception) -> Response:
    return refuse([(FAILED, failure_text(error))], 500)
