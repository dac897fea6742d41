"""The `/api/v1/customer` surface (MailerLogic): `X-API-Key`, snake_case names, ids that are UUIDs."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("customer", __name__, url_prefix="/api/v1/customer")
