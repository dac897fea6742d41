"""The OpenAPI document: the commands, the end-user layer and the health of the installation put together."""

from __future__ import annotations

from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from web.openapi import commands, end_user, health, rest


def build(name: str, version: str) -> dict[str, Any]:
    """The document as JSON types; the server is the host that it is read from."""
    plugin = MarshmallowPlugin()
    spec = APISpec(
        title=name,
        version=version,
        openapi_version="3.1.0",
        plugins=[plugin],
        info={"description": "A self-hosted email gateway: the command API, its end-user layer and its health."},
        servers=[{"url": "/"}],
        tags=[
            {"name": "commands", "description": "The command API"},
            {"name": "end user", "description": "Sending, events and webhooks with a sender API key"},
            {"name": "v1", "description": "Mailers.io and Mailmark, with a Bearer key"},
            {"name": "emails", "description": "Maillayer: sending with a key of the account"},
            {"name": "customer", "description": "MailerLogic, with X-API-Key"},
            {"name": "outbound", "description": "MailerLogic, what it has below /api/v1 itself"},
            {"name": "health", "description": "Whether the installation serves"},
        ],
    )
    commands.add(spec, plugin.converter)
    rest.add(spec, plugin.converter)
    end_user.add(spec)
    health.add(spec)
    found: dict[str, Any] = spec.to_dict()
    return found
