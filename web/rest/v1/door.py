"""What the endpoints below `/v1` share: who holds the Bearer key, and the request rate."""

from __future__ import annotations

import orjson
from flask import Request, Response

from commands.sender_keys import presented
from gateway import errors
from gateway.services import identity, limits
from models.vocabulary import ACCOUNT_DISABLED
from web import rates
from web.rest.v1 import blueprint

INVALID_KEY = "Invalid or revoked API key"


def enter(request: Request, permission: str) -> identity.Caller:
    """The caller of the key in `Authorization: Bearer`.

    Raises `NotAuthenticated`, `NotAllowed` where the key has not the permission, `RateLimited`.
    """
    keys = presented(request.headers.get("Authorization", ""), {})
    if not keys:
        raise errors.NotAuthenticated(INVALID_KEY)
    try:
        caller = identity.authenticate_sender(keys=keys)
    except errors.NotAuthenticated:
        raise errors.NotAuthenticated(INVALID_KEY) from None
    if caller.status == ACCOUNT_DISABLED or caller.domain_id is None:
        raise errors.NotAuthenticated(INVALID_KEY)
    if not caller.allows(permission):
        raise errors.NotAllowed(f"The key's permissions do not include {permission}.")
    rates.show(limits.admit(caller))
    return caller


@blueprint.after_request
def _finish(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    return response


@blueprint.errorhandler(errors.NotAuthenticated)
def _not_authenticated(error: errors.NotAuthenticated) -> tuple[Response, int]:
    from web.errors import body

    content = orjson.dumps(body(INVALID_KEY, error.message, error.slug))
    return Response(content, mimetype="application/json"), error.status


@blueprint.errorhandler(errors.Invalid)
def _invalid(error: errors.Invalid) -> tuple[Response, int]:
    """Validation is 400 here; what is too large stays 413."""
    from web.errors import body

    status = error.status if isinstance(error, errors.TooLarge) else 400
    fields = [{"field": error.data["field"], "message": error.message}] if error.data.get("field") else []
    content = orjson.dumps(body(error.slug.replace("_", " "), error.message, error.slug, errors=fields))
    return Response(content, mimetype="application/json"), status
