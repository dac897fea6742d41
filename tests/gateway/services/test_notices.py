"""Notices: written with their change, read by their account only."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

import models
from gateway import errors
from gateway.services import domain_changes, notices
from models import database as db
from models.vocabulary import NoticeKind
from tests import cast

pytestmark = pytest.mark.usefixtures("store")


def _record(who: cast.Sender, kind: NoticeKind, **data: object) -> None:
    def work(tx: db.Transaction) -> None:
        notices.record(tx, kind, account_id=who.owner.account_id, domain_id=who.domain.id, data=data)

    db.in_transaction(work)


def test_newest_first_in_pages_by_domain_and_kind(store: str) -> None:
    who, other = cast.sender(), cast.sender("other", "other.test")
    for n in range(5):
        _record(who, NoticeKind.DKIM_SEEN if n % 2 else NoticeKind.DKIM_SWITCHED, n=n)
    found = notices.list_(caller=who.owner, count=3)
    assert [one.data.get("n") for one in found] == [4, 3, 2]
    rest = notices.list_(caller=who.owner, before=found[-1].id)
    assert [one.data.get("n") for one in rest] == [1, 0, None]
    assert rest[-1].kind == "domain.enabled"
    seen = notices.list_(caller=who.owner, domain_id=who.domain.id, kind="dkim.seen")
    assert [one.data["n"] for one in seen] == [3, 1]
    assert [one.kind for one in notices.list_(caller=other.owner)] == ["domain.enabled"]
    with pytest.raises(errors.NotFound):
        notices.list_(caller=other.owner, domain_id=who.domain.id)
    with pytest.raises(errors.NotFound):
        notices.list_(caller=replace(who.owner, domain_id=who.domain.id), domain_id=other.domain.id)
    domain_changes.delete(caller=who.owner, domain_id=who.domain.id)
    assert len(notices.list_(caller=who.owner, domain_id=who.domain.id)) == 6


def test_a_change_that_is_rolled_back_is_no_notice(store: str, caplog: pytest.LogCaptureFixture) -> None:
    who = cast.sender()
    caplog.clear()

    def work(tx: db.Transaction) -> None:
        notices.record(tx, NoticeKind.DKIM_RETIRED, account_id=who.owner.account_id, data={})
        raise errors.Invalid

    with caplog.at_level(logging.INFO), pytest.raises(errors.Invalid):
        db.in_transaction(work)
    assert models.Notice.select().where(models.Notice.kind == "dkim.retired").count() == 0
    assert caplog.records == []
    with caplog.at_level(logging.INFO):
        _record(who, NoticeKind.DKIM_RETIRED, selector="a")
    assert [(r.message, r.kind, r.facts) for r in caplog.records] == [  # type: ignore[attr-defined]
        ("notice", "dkim.retired", {"selector": "a"})
    ]
