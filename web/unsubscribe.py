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
from web.unsubscribe_texts import DEFAULT, TEXTS

blueprint = Blueprint("unsubscribe", __name__)

_UNDO, _LIST_ONLY = "resubscribe", "list"
_LENGTH = 64 * 1024
_RETRY_S = 30
_log = logging.getLogger("commandpost.web")

_STYLE = (
    "body{margin:0;font:1.125rem/1.6 system-ui,sans-serif;color:#1a1a1a;background:#f5f5f5}"
    "main{max-width:34rem;margin:2rem auto;padding:2rem;background:#fff}"
    "h1{font-size:1.5rem;line-height:1.3;margin:0 0 1rem}p{overflow-wrap:anywhere}"
    "form{margin:0 0 1rem}"
    "button{font:inherit;padding:.75rem 1.5rem;color:#fff;background:#1a4f8b;border:2px solid #1a4f8b;cursor:pointer;"
    "overflow-wrap:anywhere}"
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
    "Vary": "Accept-Language",
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
    return _shown(leaving, now)


@blueprint.post(f"{unsubscribe_links.PATH}<token>")
def act(token: str) -> Response:
    """Whatever the body says, it unsubscribes, unless our own page asks for the opposite."""
    leaving = unsubscribe_links.read(token)
    if leaving is None:
        return _not_found()
    form = _form()
    try:
        action = form.get("action", "")
        if action == _UNDO:
            unsubscribes.resubscribe(leaving=leaving)
            now = unsubscribes.state(leaving)
            return _still(leaving, now) if now.ended or now.off_list else _back(leaving, now)
        method = unsubscribes.PAGE if action else unsubscribes.ONE_CLICK
        unsubscribes.unsubscribe(
            leaving=leaving, method=method, ip=request.remote_addr or "", list_only=action == _LIST_ONLY
        )
    except StoreUnavailable as error:
        _log.warning("unsubscribe_postponed", extra={"cause": str(error)})
        return _later("list" if form.get("action") == _LIST_ONLY else "unsubscribe")
    try:
        return _shown(leaving, unsubscribes.state(leaving))
    except StoreUnavailable:  # it is done, and that is what has to be said
        only = action == _LIST_ONLY
        return _shown(leaving, State("", "", not only, only))


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


def _language() -> str:
    """The best that the reader's browser asks for; English where it asks for none of ours."""
    return request.accept_languages.best_match(list(TEXTS), default=DEFAULT)


def _said(text: str, leaving: Leaving, now: State) -> str:
    """A sentence as HTML: what comes from senders and recipients is escaped."""
    sender = f"<strong>{escape(now.domain)}</strong>" if now.domain else escape(TEXTS[_language()].this_sender)
    return escape(text).format(
        address=escape(_masked(leaving.rcpt)), sender=sender, list=f"<strong>{escape(now.list_name)}</strong>"
    )


def _paragraph(text: str, leaving: Leaving, now: State) -> str:
    return f"<p>{_said(text, leaving, now)}</p>"


def _button(action: str, text: str) -> str:
    return f'<form method="post"><button type="submit" name="action" value="{action}">{text}</button></form>'


def _shown(leaving: Leaving, now: State) -> Response:
    """How things stand, and what can be done about it."""
    texts = TEXTS[_language()]
    if now.ended:
        return _page(
            texts.ended_title,
            _paragraph(texts.ended, leaving, now),
            _paragraph(texts.on_its_way, leaving, now),
            _button(_UNDO, escape(texts.again)),
        )
    if now.off_list:
        return _page(
            texts.off_list_title,
            _paragraph(texts.off_list, leaving, now),
            _paragraph(texts.on_its_way, leaving, now),
            _button(_UNDO, escape(texts.list_again)),
            _button("unsubscribe", _said(texts.everything, leaving, now)),
        )
    if now.list_name:
        return _page(
            texts.ask_title,
            _paragraph(texts.ask_with_list, leaving, now),
            _button(_LIST_ONLY, _said(texts.list_only, leaving, now)),
            _button("unsubscribe", _said(texts.everything, leaving, now)),
        )
    return _page(
        texts.ask_title, _paragraph(texts.ask, leaving, now), _button("unsubscribe", escape(texts.unsubscribe))
    )


def _still(leaving: Leaving, now: State) -> Response:
    texts = TEXTS[_language()]
    said = texts.ended if now.ended else texts.off_list
    return _page(texts.still_title, _paragraph(said, leaving, now), _paragraph(texts.still, leaving, now))


def _back(leaving: Leaving, now: State) -> Response:
    texts = TEXTS[_language()]
    return _page(
        texts.back_title, _paragraph(texts.back, leaving, now), _button("unsubscribe", escape(texts.unsubscribe))
    )


def _later(action: str) -> Response:
    texts = TEXTS[_language()]
    made = _page(
        texts.later_title, f"<p><strong>{escape(texts.later)}</strong></p>", _button(action, escape(texts.retry)),
        status=503,
    )  # fmt: skip
    made.headers["Retry-After"] = str(_RETRY_S)
    return made


def _not_found() -> Response:
    texts = TEXTS[_language()]
    return _page(texts.broken_title, f"<p>{escape(texts.broken)}</p>", status=404)


def _page(title: str, *content: str, status: int = 200) -> Response:
    language, title = _language(), escape(title)
    return Response(
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="robots" content="noindex"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><main><h1>{title}</h1>{''.join(content)}</main></body></html>\n",
        status,
        {**_HEADERS, "Content-Language": language},
        mimetype="text/html",
    )
