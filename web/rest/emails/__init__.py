"""The `/api/v1/emails` surface (Maillayer): Bearer keys of an account, camelCase names, ids of 24 hex digits."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("emails", __name__, url_prefix="/api/v1")
