"""What MailerLogic has below `/api/v1` itself: sending, its numbers and its events, by `X-API-Key` or Bearer."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("outbound", __name__, url_prefix="/api/v1")
