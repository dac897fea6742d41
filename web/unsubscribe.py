"""The unsubscribe link, on any host: `/u/<token>`. POST acts at once (RFC 8058), GET shows a page that asks.

No login, no cookie, no redirect and no script: mail providers post here, and people with whatever browser they have.
"""

from __future__ import annotations

import logging
from html import escape

from flask import Blueprint, Response, request

from gateway.services import unsubscribe_links, unsubscribes
from gateway.services.unsubscribe_links import Leaving
from gateway.services.unsubscribes import State
from models.database import StoreUnavailable
from web import person_pages
from web.person_pages import button, language, masked
from web.unsubscribe_texts import TEXTS

blueprint = Blueprint("unsubscribe", __name__)

_UNDO, _LIST_ONLY = "resubscribe", "list"
_log = logging.getLogger("commandpost.web")


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
    form = person_pages.form()
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


def _said(text: str, leaving: Leaving, now: State) -> str:
    """A sentence as HTML: what comes from senders and recipients is escaped."""
    sender = f"<strong>{escape(now.domain)}</strong>" if now.domain else escape(TEXTS[language(TEXTS)].this_sender)
    return escape(text).format(
        address=escape(masked(leaving.rcpt)),
        sender=sender,
        list=f"<strong>{escape(now.list_name)}</strong>",
    )


def _paragraph(text: str, leaving: Leaving, now: State) -> str:
    return f"<p>{_said(text, leaving, now)}</p>"


def _shown(leaving: Leaving, now: State) -> Response:
    """How things stand, and what can be done about it."""
    texts = TEXTS[language(TEXTS)]
    if now.ended:
        return _page(
            texts.ended_title,
            _paragraph(texts.ended, leaving, now),
            _paragraph(texts.on_its_way, leaving, now),
            button(_UNDO, escape(texts.again)),
        )
    if now.off_list:
        return _page(
            texts.off_list_title,
            _paragraph(texts.off_list, leaving, now),
            _paragraph(texts.on_its_way, leaving, now),
            button(_UNDO, escape(texts.list_again)),
            button("unsubscribe", _said(texts.everything, leaving, now)),
        )
    if now.list_name:
        return _page(
            texts.ask_title,
            _paragraph(texts.ask_with_list, leaving, now),
            button(_LIST_ONLY, _said(texts.list_only, leaving, now)),
            button("unsubscribe", _said(texts.everything, leaving, now)),
        )
    return _page(
        texts.ask_title,
        _paragraph(texts.ask, leaving, now),
        button("unsubscribe", escape(texts.unsubscribe)),
    )


def _still(leaving: Leaving, now: State) -> Response:
    texts = TEXTS[language(TEXTS)]
    said = texts.ended if now.ended else texts.off_list
    return _page(texts.still_title, _paragraph(said, leaving, now), _paragraph(texts.still, leaving, now))


def _back(leaving: Leaving, now: State) -> Response:
    texts = TEXTS[language(TEXTS)]
    return _page(
        texts.back_title,
        _paragraph(texts.back, leaving, now),
        button("unsubscribe", escape(texts.unsubscribe)),
    )


def _later(action: str) -> Response:
    texts = TEXTS[language(TEXTS)]
    made = _page(
        texts.later_title, f"<p><strong>{escape(texts.later)}</strong></p>", button(action, escape(texts.retry)),
        status=503,
    )  # fmt: skip
    made.headers["Retry-After"] = str(person_pages.RETRY_S)
    return made


def _not_found() -> Response:
    texts = TEXTS[language(TEXTS)]
    return _page(texts.broken_title, f"<p>{escape(texts.broken)}</p>", status=404)


def _page(title: str, *content: str, status: int = 200) -> Response:
    return person_pages.page(title, *content, language=language(TEXTS), status=status)
