"""How refusals look where no surface has words of its own: one JSON body with a request id and a real status."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from commands import envelope
from gateway import errors
from models.database import StoreUnavailable
from web import rates

_log = logging.getLogger("commandpost.web")


def body(error: str, message: str, code: str, **more: Any) -> dict[str, Any]:
    """`{"error", "message", "code", "request_id"}`."""
    return {"error": error, "message": message, "code": code, "request_id": g.get("request_id", "")} | more


def retry_after(error: Exception) -> dict[str, str]:
    seconds = error.data.get("retry_after", 5) if isinstance(error, errors.GatewayError) else 5
    return {"Retry-After": str(getattr(error, "retry_after", seconds))}


def allowed_methods(error: HTTPException) -> dict[str, str]:
    """The Allow header that a 405 must have (RFC 9110 §15.5.6)."""
    methods = error.valid_methods if isinstance(error, MethodNotAllowed) else None
    return {"Allow": ", ".join(sorted(methods))} if methods else {}


def failure_text(error: Exception) -> str:
    """Log an unforeseen failure with its request id and say only that id."""
    _log.error("request_failed", extra={"request_id": g.get("request_id", ""), "path": request.path}, exc_info=error)
    return f"An unexpected failure happened. Request id: {g.get('request_id', '')}"


def _answer(content: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(content), status, headers, mimetype="application/json")


def register(app: Flask) -> None:
    """Render every refusal and failure of the application; blueprints may have handlers of their own."""

    @app.errorhandler(errors.GatewayError)
    def refused(error: errors.GatewayError) -> Response:
        headers = rates.headers_of(error) if isinstance(error, errors.RateLimited) else {}
        if isinstance(error, errors.Unavailable):
            headers = retry_after(error)
        return _answer(body(error.slug.replace("_", " "), error.message, error.slug), error.status, headers)

    @app.errorhandler(StoreUnavailable)
    def unavailable(error: StoreUnavailable) -> Response:
        kind = errors.Unavailable
        return _answer(body(kind.slug, kind.message, kind.slug), 503, retry_after(error))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        from web.rest import end_user
        from web.rest.end_user import door

        if request.path.startswith(tuple(f"{path}/" for path in end_user.PATHS)) or request.path in end_user.PATHS:
            return door.http_error(error)
        if error.code == 405 and request.path.startswith("/api.php"):
            refusal = envelope.no_method(request.method)
            return _answer(refusal.body, refusal.status, dict(refusal.headers))
        code = error.name.lower().replace(" ", "_")
        headers = allowed_methods(error)
        if error.code is not None and 300 <= error.code < 400:
            headers["Location"] = error.get_response().headers.get("Location", "")
        return _answer(body(error.name, error.description or error.name, code), error.code or 500, headers)

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        return _answer(body("Internal Server Error", failure_text(error), "internal_error"), 500, {})
