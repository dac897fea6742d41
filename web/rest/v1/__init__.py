"""The `/v1` surface: Bearer keys, snake_case names, one error body with a documented code."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("v1", __name__, url_prefix="/v1")
