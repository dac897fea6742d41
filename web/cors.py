"""Browsers of other origins: off unless the setting names them."""

from __future__ import annotations

from flask import Flask, Response, request

from gateway import config


def register(app: Flask) -> None:
    """Answer preflights and mark answers for the origins of `COMMANDPOST_CORS_ORIGINS`."""

    @app.before_request
    def preflight() -> Response | None:
        if request.method == "OPTIONS" and _origin() and "Access-Control-Request-Method" in request.headers:
            return Response(status=204)
        return None

    @app.after_request
    def mark(response: Response) -> Response:
        origin = _origin()
        if origin:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.vary.add("Origin")
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Idempotency-Key, X-API-Key"
            response.headers["Access-Control-Expose-Headers"] = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"
        return response


def _origin() -> str:
    """The request's origin where it is allowed."""
    origin = request.headers.get("Origin", "")
    return origin if origin and origin in config.settings().cors_origins else ""
