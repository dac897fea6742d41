"""The declaration of an operation below `/v1`, for Bearer keys of Mailers.io, Mailmark and the command API."""

from __future__ import annotations

from web.rest.surface import Answer, Surface, bearer
from web.rest.v1 import blueprint

__all__ = ["SURFACE", "Answer", "operation"]

SURFACE = Surface(blueprint, surfaces=("mailersio", "mailmark", "octeth"), token=bearer, security="Bearer")
operation = SURFACE.operation
