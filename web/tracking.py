"""The links and pixels of delivered mail, on any host: `/t/c/<token>`, `/t/o/<token>.gif` and `/t/h/<token>`.

Nothing here asks the database: a link works as long as one web process does.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, request
from werkzeug.datastructures import Headers

from gateway.services import tracking, tracking_links

blueprint = Blueprint("tracking", __name__)

PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""One transparent point, 43 bytes."""

_PURPOSES = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
_PRIVATE = {
    "Cache-Control": "no-store, no-cache, must-revalidate, private, max-age=0",
    "Pragma": "no-cache",
    "Expires": "0",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_NOT_FOUND = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Link not found</title></head>'
    "<body><h1>This link does not work</h1><p>It is not complete, or it was changed on its way to you. "
    "Open the message again and follow the link there.</p></body></html>\n"
)
_NOTHING = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Nothing here</title></head>'
    "<body><h1>There is nothing here</h1><p>This link is in the message for programs that follow every link. "
    "Nothing was done, and you can close this page.</p></body></html>\n"
)


class _Redirect(Response):
    """Goes to the target byte for byte, where the library would write some characters in another way."""

    def __init__(self, url: str) -> None:
        super().__init__(status=302, headers=_PRIVATE)
        self._url = url

    def get_wsgi_headers(self, environ: Any) -> Headers:
        headers = super().get_wsgi_headers(environ)
        headers["Location"] = quote(self._url, safe=_PRINTABLE)
        return headers


@blueprint.get(f"{tracking_links.CLICK_PATH}<token>")
def click(token: str) -> Response:
    """To the target as it was signed; a token that is not ours leads nowhere."""
    target = tracking_links.click(token)
    if target is None:
        return _not_found()
    _note(target.delivery_id, target.url)
    return _Redirect(target.url)


@blueprint.get(f"{tracking_links.OPEN_PATH}<token>")
def opened(token: str) -> Response:
    delivery_id = tracking_links.opened(token.removesuffix(tracking_links.PIXEL_SUFFIX))
    if delivery_id is None:
        return _not_found()
    _note(delivery_id, "")
    return Response(PIXEL, 200, _PRIVATE, mimetype="image/gif")


@blueprint.get(f"{tracking_links.TRAP_PATH}<token>")
def trapped(token: str) -> Response:
    """The link that no reader sees: whoever follows it follows everything. It leads to no place."""
    delivery_id = tracking_links.trapped(token)
    if delivery_id is None:
        return _not_found()
    _note(delivery_id, "", trap=True)
    return Response(_NOTHING, 200, {**_PRIVATE, "Content-Security-Policy": "default-src 'none'"}, mimetype="text/html")


def _note(delivery_id: int, url: str, *, trap: bool = False) -> None:
    tracking.note(
        delivery_id=delivery_id,
        url=url,
        method=request.method,
        agent=request.headers.get("User-Agent", ""),
        ip=request.remote_addr or "",
        purpose=next((found for name in _PURPOSES if (found := request.headers.get(name))), ""),
        trap=trap,
    )


def _not_found() -> Response:
    return Response(
        _NOT_FOUND, 404, {**_PRIVATE, "Content-Security-Policy": "default-src 'none'"}, mimetype="text/html"
    )
