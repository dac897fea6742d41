"""The link of a double opt-in, on any host: `/confirm/<token>`. GET shows a page that asks, POST confirms."""

from __future__ import annotations

import logging
from html import escape

from flask import Blueprint, Response

from gateway.services import confirmations, subscriber_moves
from gateway.services.confirmations import Asked, State
from models.database import StoreUnavailable
from models.vocabulary import SubscriberStatus
from web import person_pages
from web.confirm_texts import TEXTS, Texts

blueprint = Blueprint("confirm", __name__)

_log = logging.getLogger("commandpost.web")


@blueprint.get(f"{confirmations.PATH}<token>")
def ask(token: str) -> Response:
    """Changes nothing: scanners and previews follow links before people do."""
    asked = confirmations.read(token)
    if asked is None:
        return _not_found()
    try:
        now = confirmations.state(asked)
    except StoreUnavailable:
        return _later()
    if now.status is SubscriberStatus.PENDING and not asked.is_over:
        said = _texts()
        return _page(said.ask_title, _paragraph(said.ask, asked, now), person_pages.button("confirm", said.confirm))
    return _told(asked, now)


@blueprint.post(f"{confirmations.PATH}<token>")
def act(token: str) -> Response:
    """A second time is harmless; a link that is too old confirms nothing."""
    asked = confirmations.read(token)
    if asked is None:
        return _not_found()
    try:
        if not asked.is_over:
            subscriber_moves.confirm(list_id=asked.list_id, subscriber_id=asked.subscriber_id, address=asked.address)
        return _told(asked, confirmations.state(asked))
    except StoreUnavailable as error:
        _log.warning("confirmation_not_stored", extra={"cause": str(error)})
        return _later()


def _told(asked: Asked, now: State) -> Response:
    said = _texts()
    if now.status is SubscriberStatus.ACTIVE:
        return _page(said.done_title, _paragraph(said.done, asked, now))
    if now.status is SubscriberStatus.PENDING:
        return _page(said.over_title, _paragraph(said.over, asked, now), status=410)
    return _page(said.gone_title, f"<p>{escape(said.gone)}</p>", status=410)


def _later() -> Response:
    said = _texts()
    button = person_pages.button("confirm", said.retry)
    made = _page(said.later_title, f"<p><strong>{escape(said.later)}</strong></p>", button, status=503)
    made.headers["Retry-After"] = str(person_pages.RETRY_S)
    return made


def _not_found() -> Response:
    said = _texts()
    return _page(said.broken_title, f"<p>{escape(said.broken)}</p>", status=404)


def _texts() -> Texts:
    return TEXTS[person_pages.language(TEXTS)]


def _paragraph(text: str, asked: Asked, now: State) -> str:
    """A sentence as HTML: the name of the list and the address are escaped."""
    said = escape(text).format(
        address=escape(person_pages.masked(asked.address)), list=f"<strong>{escape(now.list_name)}</strong>"
    )
    return f"<p>{said}</p>"


def _page(title: str, *content: str, status: int = 200) -> Response:
    return person_pages.page(title, *content, language=person_pages.language(TEXTS), status=status)
