"""The declaration of an operation of the Maillayer surface."""

from __future__ import annotations

from gateway import errors
from web.rest import refusals
from web.rest.emails import blueprint
from web.rest.surface import Surface, bearer

refusals.register(blueprint, forbidden=[errors.SuppressedRecipient])
SURFACE = Surface(blueprint, surfaces=("maillayer",), token=bearer, security="Bearer")
operation = SURFACE.operation
