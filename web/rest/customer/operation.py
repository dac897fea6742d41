"""The declaration of an operation of the MailerLogic surface."""

from __future__ import annotations

from flask import request

from gateway import errors
from web.rest import refusals
from web.rest.customer import blueprint
from web.rest.surface import Answer, Surface, bearer

__all__ = ["SURFACE", "Answer", "check_plan", "operation"]


def _token() -> str:
    return request.headers.get("X-API-Key", "").strip() or bearer()


def check_plan(switch: int | None) -> None:
    """Raises `NotInPlan` where a plan switches it off."""
    if switch == 0:
        raise errors.NotInPlan


refusals.register(blueprint)
SURFACE = Surface(blueprint, surfaces=("mailerlogic",), token=_token, security="ApiKeyAuth")
operation = SURFACE.operation
