"""How refusals look on the surfaces below `/v1`, `/api/v1/emails` and `/api/v1/customer`: one body for every document.

Validation is 400, whatever is not there 404; 422 has a meaning of its own (an idempotency key used twice).
"""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response

from gateway import errors
from web import rates
from web.errors import body, retry_after
from web.rest.surface import INVALID_KEY

VALIDATION = "Validation failed"

_NAMES = {
    "TemplateName": "name",
    "ListName": "name",
    "Subject": "subject",
    "HTMLContent": "html",
    "EmailAddress": "email",
    "Fields": "fields",
    "Subscribers": "subscribers",
    "Reason": "reason",
    "ExpiresAt": "expires_at",
}
"""What services call as the command API does."""

_FIELDS: dict[type[errors.GatewayError], str] = {
    errors.InvalidUrl: "url",
    errors.PrivateUrl: "url",
    errors.InvalidDomainName: "domain",
    errors.TemplateNotFound: "template",
}
"""What is at fault where a refusal does not say it: each surface calls it so."""


def register(blueprint: Blueprint, *, forbidden: tuple[type[errors.GatewayError], ...] = ()) -> None:
    """Render what the surface's operations raise; failures are rendered as everywhere.

    `forbidden` are the refusals that the surface's document answers with 403.
    """
    blueprint.after_request(finish)
    blueprint.register_error_handler(errors.GatewayError, lambda error: rendered(error, forbidden=forbidden))


def rendered(error: errors.GatewayError, *, forbidden: tuple[type[errors.GatewayError], ...] = ()) -> Response:
    """The refusal with its status and headers. What is too large stays 413; every fault stands in `errors`."""
    short, headers, more = error.slug.replace("_", " "), {}, {}
    status = 403 if isinstance(error, forbidden) else status_of(type(error))
    if isinstance(error, errors.NotAuthenticated):
        short = INVALID_KEY
    elif isinstance(error, errors.Invalid) and not isinstance(error, forbidden):
        short, more = VALIDATION, {"errors": _faults(error, words(error))}
    elif isinstance(error, errors.NotFound) and field_of(error):
        more = {"errors": _faults(error, words(error))}
    elif isinstance(error, errors.ListInUse):
        more = {"used_by": error.data.get("used_by", [])}
    elif isinstance(error, errors.RateLimited):
        headers = rates.headers_of(error)
    elif isinstance(error, (errors.QuotaReached, errors.Unavailable)):
        headers = retry_after(error)
    content = orjson.dumps(body(short, words(error), error.slug, **more))
    return Response(content, status, headers, mimetype="application/json")


def status_of(kind: type[errors.GatewayError]) -> int:
    """The HTTP status of a refusal here: validation is 400, whatever is absent 404; 422 has a meaning of its own."""
    if issubclass(kind, errors.TooLarge):
        return kind.status
    if issubclass(kind, errors.Invalid):
        return 400
    return 404 if issubclass(kind, errors.NotFound) else kind.status


def finish(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def words(error: errors.GatewayError) -> str:
    """Its message, in the names that things have here."""
    if error.message == errors.TemplateNotFound.message:
        return "There is no such template."
    return error.message.replace("WebhookURL", "url") if type(error) in _FIELDS else error.message


def of_item(error: errors.GatewayError) -> dict[str, Any]:
    """The refusal of one of several: its first fault in full, all of them where there are several."""
    listed: Any = error.data.get("fields") or []
    told: dict[str, Any] = {"code": error.slug, "message": words(error), "field": field_of(error)}
    return told | {"errors": listed} if len(listed) > 1 else told


def field_of(error: errors.GatewayError) -> str | None:
    """What of the request is at fault, as it is called here; the first of several."""
    listed: Any = error.data.get("fields")
    if listed:
        return str(listed[0]["field"])
    field = str(error.data.get("field") or _FIELDS.get(type(error), ""))
    return _NAMES.get(field, field) or None


def _faults(error: errors.GatewayError, text: str) -> Any:
    listed = error.data.get("fields")
    if listed is None:
        field, said = field_of(error), error.data.get("field")
        listed = [{"field": field, "message": text.removeprefix(f"{said}: ")}] if field else []
    return listed
