"""The declaration of an operation of the Maillayer surface, also on paths whose route the end-user layer has."""

from __future__ import annotations

from gateway import errors
from web.rest import end_user, refusals
from web.rest.emails import blueprint
from web.rest.shared_paths import serve_on
from web.rest.surface import Surface, bearer

FORBIDDEN = (errors.SuppressedRecipient,)

refusals.register(blueprint, forbidden=FORBIDDEN)
SURFACE = Surface(blueprint, surfaces=("maillayer",), token=bearer, security="Bearer")
operation = SURFACE.operation
serve_on(SURFACE, end_user.blueprint, forbidden=FORBIDDEN)
