"""The declaration of an operation of the Maillayer surface, also on paths whose route the end-user layer has."""

from __future__ import annotations

from flask import Response, request

from gateway import errors
from web.rest import end_user, refusals
from web.rest.emails import blueprint
from web.rest.surface import Surface, bearer

FORBIDDEN = (errors.SuppressedRecipient,)

refusals.register(blueprint, forbidden=FORBIDDEN)
SURFACE = Surface(blueprint, surfaces=("maillayer",), token=bearer, security="Bearer")
operation = SURFACE.operation


@end_user.blueprint.before_request
def _by_key() -> Response | None:
    """On a path that two documents share the key's surface decides."""
    if request.url_rule is None:
        return None
    path = request.url_rule.rule.removeprefix(str(blueprint.url_prefix))
    try:
        found = SURFACE.serve_shared(path, request.view_args or {})
    except errors.GatewayError as error:
        return refusals.rendered(error, forbidden=FORBIDDEN)
    return found
