"""The script behind `POST /api.php`: read the request, dispatch the command, render the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, g, request

from commands import envelope
from commands.dispatch import dispatch
from commands.formats import render
from gateway import errors
from web import reading
from web.errors import failure_text

blueprint = Blueprint("api_php", __name__)

_ALL = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_SERVED = ("GET", "POST", "DELETE")


@blueprint.route("/api.php", methods=_ALL, provide_automatic_options=False)
@blueprint.route("/api.php/<path:rest>", methods=_ALL, provide_automatic_options=False)
def command(rest: str = "") -> Response:
    """Answer one command; a path behind the script's name is ignored."""
    fields: Mapping[str, Any] = {name.lower(): value for name, value in request.args.items()}
    if request.method not in _SERVED:
        return _respond(envelope.no_method(request.method), fields)
    try:
        fields = reading.read(request)
    except errors.NotJson:
        return _respond(envelope.not_json(), fields)
    except errors.Invalid as error:
        return _respond(envelope.undocumented(error.message), fields)
    answer = dispatch(fields, ip=request.remote_addr or "", request_id=g.request_id, headers=request.headers)
    return _respond(answer, fields)


@blueprint.errorhandler(Exception)
def failed(error: Exception) -> Response:
    """What neither reading nor a command foresaw."""
    failure_text(error)
    return _respond(envelope.failed(g.request_id), {})


def _respond(answer: envelope.Answer, fields: Mapping[str, Any]) -> Response:
    body, content_type = render(answer.body, fields)
    return Response(body, answer.status, dict(answer.headers), content_type=content_type)
