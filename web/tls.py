"""`GET /tls/allowed?domain=`: whether whoever ends TLS in front of us may get a certificate for a name.

Caddy asks it before it gets one on demand (`on_demand_tls { ask … }`); any status but 200 is a no.
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from gateway.services import tracking_domains

blueprint = Blueprint("tls", __name__)


@blueprint.get("/tls/allowed")
def allowed() -> Response:
    name = request.args.get("domain", "")
    return Response(status=200 if tracking_domains.is_allowed(name) else 404)
