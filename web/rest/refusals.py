"""How refusals look on the surfaces below `/v1`, `/api/v1/emails` and `/api/v1/customer`: one body for every document.

Validation is 400, whatever is not there 404; 422 has a meaning of its own (an idempotency key used twice).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from flask import Blueprint, Response

from gateway import errors
from web.errors import body, retry_after
from web.rest.surface import INVALID_KEY

VALIDATION = "Validation failed"


def register(blueprint: Blueprint, *, forbidden: Iterable[type[errors.GatewayError]] = ()) -> None:
    """Render what the surface's operations raise; everything else is rendered as everywhere.

    `forbidden` are the refusals that the surface's document answers with 403.
    """
    blueprint.after_request(_finish)
    blueprint.register_error_handler(errors.NotAuthenticated, _not_authenticated)
    blueprint.register_error_handler(errors.Invalid, _invalid)
    blueprint.register_error_handler(errors.NotFound, _not_found)
    blueprint.register_error_handler(errors.QuotaReached, _used_up)
    for kind in forbidden:
        blueprint.register_error_handler(kind, _forbidden)


def answer(content: dict[str, Any], status: int) -> Response:
    return Response(orjson.dumps(content), status, mimetype="application/json")


def _finish(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _not_authenticated(error: errors.NotAuthenticated) -> Response:
    return answer(body(INVALID_KEY, error.message, error.slug), error.status)


def _invalid(error: errors.Invalid) -> Response:
    """What is too large stays 413. Every fault stands in `errors`."""
    status = error.status if isinstance(error, errors.TooLarge) else 400
    listed = error.data.get("fields")
    if listed is None:
        listed = [{"field": error.data["field"], "message": error.message}] if error.data.get("field") else []
    return answer(body(VALIDATION, error.message, error.slug, errors=listed), status)


def _not_found(error: errors.NotFound) -> Response:
    return _told(error, 404)


def _forbidden(error: errors.GatewayError) -> Response:
    return _told(error, 403)


def _used_up(error: errors.QuotaReached) -> Response:
    response = _told(error, error.status)
    response.headers.update(retry_after(error))
    return response


def _told(error: errors.GatewayError, status: int) -> Response:
    return answer(body(error.slug.replace("_", " "), error.message, error.slug), status)
