"""`GET /openapi.json`: the description of every surface, in OpenAPI 3.1; and `GET /`, which names it."""

from __future__ import annotations

import functools
from importlib.metadata import version

import orjson
from flask import Blueprint, Response

NAME, PACKAGE = "Commandpost", "commandpost"

blueprint = Blueprint("openapi", __name__)


@functools.cache
def _document() -> bytes:
    # Imported when it is first asked for: workers start without it.
    from web.openapi import document

    return orjson.dumps(document.build(NAME, version(PACKAGE)))


@blueprint.get("/openapi.json")
def description() -> Response:
    """The same for everybody; it changes with the version only."""
    return Response(_document(), mimetype="application/json", headers={"Cache-Control": "public, max-age=300"})


@blueprint.get("/")
def front() -> Response:
    """Who answers here, and where its parts are."""
    paths = {
        "description": "/openapi.json",
        "commands": "/api.php",
        "health": "/health",
        "ready": "/ready",
        "metrics": "/metrics",
    }
    return Response(
        orjson.dumps({"name": NAME, "version": version(PACKAGE), "links": paths}), mimetype="application/json"
    )
