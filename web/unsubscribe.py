"""The unsubscribe link, on any host: `/u/<token>`. POST acts at once (RFC 8058), GET shows a page that asks.

No login, no cookie, no redirect and no script: mail providers post here, and people with whatever browser they have.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from html import escape

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from gateway.services import unsubscribe_links, unsubscribes
from gateway.services.unsubscribe_links import Leaving
from gateway.services.unsubscribes import State
from models.database import StoreUnavailable

blueprint = Blueprint("unsubscribe", __name__)

_UNDO = "resubscribe"
_LENGTH = 64 * 1024
_RETRY_S = 30
_log = logging.getLogger("commandpost.web")

_STYLE = (
    "body{margin:0;font:1.125rem/1.6 system-ui,sans-serif;color:#1a1a1a;background:#f5f5f5}"
    "main{max-width:34rem;margin:2rem auto;padding:2rem;background:#fff}"
    "h1{font-size:1.5rem;line-height:1.3;margin:0 0 1rem}p{overflow-wrap:anywhere}"
    "button{font:inherit;padding:.75rem 1.5rem;color:#fff;background:#1a4f8b;border:2px solid #1a4f8b;cursor:pointer}"
    "button:focus-visible{outline:3px solid #1a1a1a;outline-offset:3px}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_HEADERS = {
    "Cache-Control": "no-store, private",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}


@blueprint.get(f"{unsubscribe_links.PATH}<token>")
def ask(token: str) -> Response:
    """Changes nothing: scanners and previews follow links before people do."""
    leaving = unsubscribe_links.read(token)
    if leaving is None:
        return _not_found()
    try:
        now = unsubscribes.state(leaving)
    except StoreUnavailable:  # the question can be put all the same
        now = State("", "", False)
    return _ended(leaving, now) if now.ended else _question(leaving, now)


@blueprint.post(f"{unsubscribe_links.PATH}<token>")
def act(token: str) -> Response:
    """Whatever the body says, it unsubscribes, unless our own page asks for the opposite."""
    leaving = unsubscribe_links.read(token)
    if leaving is None:
        return _not_found()
    form = _form()
    try:
        if form.get("action") == _UNDO:
            unsubscribes.resubscribe(leaving=leaving)
            now = unsubscribes.state(leaving)
            return _ended(leaving, now, still=True) if now.ended else _back(leaving, now)
        method = unsubscribes.PAGE if form.get("action") else unsubscribes.ONE_CLICK
        unsubscribes.unsubscribe(leaving=leaving, method=method, ip=request.remote_addr or "")
    except StoreUnavailable as error:
        _log.warning("unsubscribe_postponed", extra={"cause": str(error)})
        return _later()
    try:
        return _ended(leaving, unsubscribes.state(leaving))
    except StoreUnavailable:  # it is done, and that is what has to be said
        return _ended(leaving, State("", "", True))


def _form() -> dict[str, str]:
    """The fields of a form, none of a body that is something else, broken or longer than any form of ours."""
    if (request.content_length or 0) > _LENGTH:
        return {}
    try:
        return request.form.to_dict()
    except (HTTPException, ValueError):
        return {}


def _masked(rcpt: str) -> str:
    """Enough for its owner to know which of their addresses it is."""
    local, _, domain = rcpt.rpartition("@")
    return f"{local[:1]}***@{domain}"


def _from(now: State) -> str:
    return f"<strong>{escape(now.domain)}</strong>" if now.domain else "this sender"


def _list(now: State) -> str:
    return f", the list <strong>{escape(now.list_name)}</strong> included" if now.list_name else ""


def _button(action: str, text: str) -> str:
    return f'<form method="post"><button type="submit" name="action" value="{action}">{text}</button></form>'


def _question(leaving: Leaving, now: State) -> Response:
    return _page(
        "Unsubscribe?",
        f"<p>Mail from {_from(now)} to {escape(_masked(leaving.rcpt))} will stop{_list(now)}.</p>",
        _button("unsubscribe", "Unsubscribe"),
    )


def _ended(leaving: Leaving, now: State, *, still: bool = False) -> Response:
    said = f"<p>{escape(_masked(leaving.rcpt))} gets no more mail from {_from(now)}{_list(now)}.</p>"
    if still:
        more = "<p>This was not done with this link alone: please ask the sender to write to you again.</p>"
        return _page("You are still unsubscribed", said, more)
    return _page(
        "You are unsubscribed",
        said,
        "<p>A message that was on its way already may still arrive. Was it a mistake?</p>",
        _button(_UNDO, "Get mail again"),
    )


def _back(leaving: Leaving, now: State) -> Response:
    return _page(
        "You get mail again",
        f"<p>{escape(_masked(leaving.rcpt))} gets mail from {_from(now)} again.</p>",
        _button("unsubscribe", "Unsubscribe"),
    )


def _later() -> Response:
    made = _page(
        "Please try again in a minute",
        "<p>You are <strong>not unsubscribed yet</strong>: this service cannot store it at the moment.</p>",
        _button("unsubscribe", "Try again"),
        status=503,
    )
    made.headers["Retry-After"] = str(_RETRY_S)
    return made


def _not_found() -> Response:
    return _page(
        "This link does not work",
        "<p>It is not complete, or it was changed on its way to you. Open the message again and follow the link"
        " there.</p>",
        status=404,
    )


def _page(title: str, *content: str, status: int = 200) -> Response:
    return Response(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="robots" content="noindex"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><main><h1>{title}</h1>{''.join(content)}</main></body></html>\n",
        status,
        _HEADERS,
        mimetype="text/html",
    )
