"""The end-user surface: a sender key, its endpoints below `/api/v1`, numbered errors with real statuses."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("end_user", __name__, url_prefix="/api/v1")

PATHS = ("/api/v1/email", "/api/v1/events", "/api/v1/webhooks", "/api/v1/messages")
"""Paths whose refusals are in this surface's words even where no route matches."""
