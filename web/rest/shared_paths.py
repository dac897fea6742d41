"""Paths that two documents share: the key's surface decides who answers."""

from __future__ import annotations

from flask import Blueprint, Response, request

from gateway import errors
from web.rest import refusals
from web.rest.surface import Surface


def serve_on(surface: Surface, *blueprints: Blueprint, forbidden: tuple[type[errors.GatewayError], ...] = ()) -> None:
    """Have `surface` answer its shared operations at the routes of those, for its own keys.

    `forbidden` are the refusals that the surface's document answers with 403.
    """

    def by_key() -> Response | None:
        if request.url_rule is None:
            return None
        path = request.url_rule.rule.removeprefix(str(surface.blueprint.url_prefix))
        try:
            return surface.serve_shared(path, request.view_args or {})
        except errors.GatewayError as error:
            return refusals.rendered(error, forbidden=forbidden)

    for blueprint in blueprints:
        blueprint.before_request(by_key)
