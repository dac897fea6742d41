"""The declaration of an operation below `/v1`, for Bearer keys of Mailers.io, Mailmark and the command API."""

from __future__ import annotations

from flask import request

from commands.sender_keys import presented
from web.rest.surface import Answer, Surface
from web.rest.v1 import blueprint

__all__ = ["SURFACE", "Answer", "operation"]


def _token() -> str:
    keys = presented(request.headers.get("Authorization", ""), {})
    return keys[0] if keys else ""


SURFACE = Surface(blueprint, surfaces=("mailersio", "mailmark", "octeth"), token=_token, security="Bearer")
operation = SURFACE.operation
