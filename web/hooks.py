"""`POST /hooks/<provider>/<server id>`: where providers tell what became of the messages that they took."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from gateway import errors
from gateway.services import provider_hooks

blueprint = Blueprint("hooks", __name__)


@blueprint.post(f"{provider_hooks.PATH}<provider>/<server_id>")
def hook(provider: str, server_id: str) -> Response:
    """200 once everything is stored; a provider that hears anything else tells it again."""
    request.max_content_length = provider_hooks.SIZE
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        raise errors.TooLarge(f"A call has at most {provider_hooks.SIZE} bytes.") from None
    done: Counter[str] = provider_hooks.receive(
        kind=provider, server_id=server_id, headers=dict(request.headers), body=body
    )
    answer: dict[str, Any] = {"status": "ok", **done}
    return Response(orjson.dumps(answer), 200, mimetype="application/json")
