"""The declaration of an operation of the MailerLogic surface."""

from __future__ import annotations

from flask import request

from web.rest import refusals
from web.rest.customer import blueprint
from web.rest.surface import Answer, Surface, bearer

__all__ = ["SURFACE", "Answer", "operation"]


def _token() -> str:
    return request.headers.get("X-API-Key", "").strip() or bearer()


refusals.register(blueprint)
SURFACE = Surface(blueprint, surfaces=("mailerlogic",), token=_token, security="ApiKeyAuth")
operation = SURFACE.operation
