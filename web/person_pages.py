"""The pages that people see who follow a link in a mail: plain, without a script or a cookie, in their language."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape

from flask import Response, request
from werkzeug.exceptions import HTTPException

RETRY_S = 30

_LENGTH = 64 * 1024
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


def form() -> dict[str, str]:
    """The fields of a form, none of a body that is something else, broken or longer than any form of ours."""
    if (request.content_length or 0) > _LENGTH:
        return {}
    try:
        return request.form.to_dict()
    except (HTTPException, ValueError):
        return {}


def masked(rcpt: str) -> str:
    """Enough for its owner to know which of their addresses it is."""
    local, _, domain = rcpt.rpartition("@")
    return f"{local[:1]}***@{domain}"


def language(known: Mapping[str, object]) -> str:
    """The best of these that the reader's browser asks for; the first where it asks for none of them."""
    return request.accept_languages.best_match(list(known), default=next(iter(known)))


def button(action: str, text: str) -> str:
    return f'<form method="post"><button type="submit" name="action" value="{action}">{text}</button></form>'


def page(title: str, *content: str, language: str, status: int = 200) -> Response:
    """A whole page; `title` is text, the content HTML."""
    title = escape(title)
    return Response(
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="robots" content="noindex"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><main><h1>{title}</h1>{''.join(content)}</main></body></html>\n",
        status,
        {**_HEADERS, "Content-Language": language},
        mimetype="text/html",
    )
