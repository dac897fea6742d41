"""`/health`, `/ready` and `/metrics`."""

from __future__ import annotations

import logging
import os
from typing import Any

import orjson
from flask import Blueprint, Response

from gateway.services import health, schema
from web import metrics

PARTS_VARIABLE = "COMMANDPOST_RUN_PARTS"
"""Set by the supervisor: the parts it runs, separated by commas."""

blueprint = Blueprint("health", __name__)
_log = logging.getLogger("commandpost.web")


def _answer(content: dict[str, Any], status: int) -> Response:
    headers = {"Retry-After": "5"} if status == 503 else {}
    return Response(orjson.dumps(content), status, headers, mimetype="application/json")


def _store_answers() -> bool:
    try:
        health.check_store()
    except Exception:
        _log.warning("store_does_not_answer", exc_info=True)
        return False
    return True


@blueprint.get("/health")
def alive() -> Response:
    """200 once the database and every part of this host serve; 503 with what is missing until then."""
    if not _store_answers():
        return _answer({"status": "down", "missing": ["database"]}, 503)
    parts = [part.strip() for part in os.environ.get(PARTS_VARIABLE, "").split(",") if part.strip()]
    # Who reads this is talking to the web part.
    missing = health.silent([part for part in parts if part != "web"])
    if missing:
        return _answer({"status": "starting", "missing": missing}, 503)
    return _answer({"status": "ok", "parts": parts or ["web"]}, 200)


@blueprint.get("/ready")
def ready() -> Response:
    """200 while requests can be taken: the database answers and its schema is up to date."""
    if not _store_answers():
        return _answer({"status": "down", "missing": ["database"]}, 503)
    pending = schema.pending()
    if pending:
        return _answer({"status": "migrating", "missing": pending}, 503)
    return _answer({"status": "ok"}, 200)


@blueprint.get("/metrics")
def exposition() -> Response:
    text, kind = metrics.exposition()
    return Response(text, content_type=kind)
