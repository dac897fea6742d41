"""How refusals look below `/v1`: one error body, and the statuses that its documents name."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response

from gateway import errors
from web.errors import body
from web.rest.surface import INVALID_KEY
from web.rest.v1 import blueprint


def _answer(content: dict[str, Any], status: int) -> Response:
    return Response(orjson.dumps(content), status, mimetype="application/json")


@blueprint.after_request
def _finish(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    return response


@blueprint.errorhandler(errors.NotAuthenticated)
def _not_authenticated(error: errors.NotAuthenticated) -> Response:
    return _answer(body(INVALID_KEY, error.message, error.slug), error.status)


@blueprint.errorhandler(errors.Invalid)
def _invalid(error: errors.Invalid) -> Response:
    """Validation is 400 here; what is too large stays 413. Every fault stands in `errors`."""
    status = error.status if isinstance(error, errors.TooLarge) else 400
    listed = error.data.get("fields")
    if listed is None:
        listed = [{"field": error.data["field"], "message": error.message}] if error.data.get("field") else []
    return _answer(body(error.slug.replace("_", " "), error.message, error.slug, errors=listed), status)


@blueprint.errorhandler(errors.NotFound)
def _not_found(error: errors.NotFound) -> Response:
    """Whatever it is that is not there: 422 has a meaning of its own here."""
    return _answer(body(error.slug.replace("_", " "), error.message, error.slug), 404)
