"""No statement about an audience reads more than its part of a table, however the server would like to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.services import (
    audiences,
    engagement,
    expansions,
    list_imports,
    lists,
    messages,
    scoped_suppressions,
    segments,
    subscribers,
)
from gateway.services.scoped_suppressions import Scope
from gateway.services.subscribers import New, Wanted
from models import database as db
from models.vocabulary import SubscriberStatus
from tests import cast

pytestmark = pytest.mark.usefixtures("store")

SHORT = ("s", "x", "e", "d")
LARGE = ("subscriber", "engagement", "suppression", "event", "delivery", "list_import_part", "list_import_error")


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that is read while this lasts."""
    seen: list[tuple[str, Any]] = []
    rows, of_tx = db.rows, db.Transaction.rows

    def noted(sql: str, params: Any = ()) -> Any:
        seen.append((sql, tuple(params)))
        return rows(sql, params)

    def noted_in(self: Any, sql: str, params: Any = ()) -> Any:
        seen.append((sql, tuple(params)))
        return of_tx(self, sql, params)

    with monkeypatch.context() as patched:
        patched.setattr(db, "rows", noted)
        patched.setattr(db.Transaction, "rows", noted_in)
        yield seen


def scans(sql: str, params: Any) -> list[str]:
    """The large tables that a statement reads whole."""
    if db.dialect() == "sqlite":
        steps = [row[3] for row in db.rows(f"EXPLAIN QUERY PLAN {sql}", params)]
        # A walk through a key from a place on says SEARCH; what says SCAN begins at its start.
        return [step for step in steps if step.startswith("SCAN") and step.split()[1] in (*LARGE, *SHORT)]
    plan = db.rows(f"EXPLAIN {sql}", params)
    return [f"{row[2]}: {row[3]}" for row in plan if row[3] in ("ALL", "index") and row[2] in (*LARGE, *SHORT)]


def test_nothing_reads_a_large_table_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    who = cast.sender()
    for name in ("Other", "News", "Third"):
        news = lists.add(caller=who.owner, name=name)
        new = [New(f"r{n}@x.test", {"city": "Berlin"}) for n in range(300)]
        subscribers.add_many(caller=who.owner, list_id=news.id, new=new)
    conditions = {"all": [{"field": "city", "value": "Berlin"}, {"behaviour": "not_opened", "within_days": 9}]}
    segment = segments.add(caller=who.owner, name="S", list_id=news.id, conditions=conditions)
    if db.dialect() == "mysql":
        db.database.execute_sql("ANALYZE TABLE subscriber, suppression, engagement")
    call: dict[str, Any] = {"caller": who.owner, "list_id": news.id}
    left = Wanted(SubscriberStatus.UNSUBSCRIBED)

    def send() -> None:
        draft = cast.draft(to=[], list_id=segment.id, subject="S", html="<p>H</p>", text="H")
        messages.accept(who.caller, draft)
        expansions.drain(5)

    def import_() -> None:
        list_imports.receive(**call, pieces=iter((b"email\nr1@x.test\nbad\n",)), format="csv")
        list_imports.drain(5)
        "".join(list_imports.error_file(list_imports.page(**call, count=1)[0]))

    works: dict[str, Callable[[], object]] = {
        "preview": lambda: segments.preview(**call, conditions=conditions),
        "size": lambda: audiences.size(audiences.find(account_id=who.owner.account_id, target_id=segment.id)),  # type: ignore[arg-type]
        "put": lambda: subscribers.put_many(**call, new=[New("r5@x.test", {"a": 1}), New("new@x.test")]),
        "page": lambda: subscribers.page(**call, wanted=Wanted(), count=50, after=100),
        "page of a status": lambda: subscribers.page(**call, wanted=left, count=50),
        "page of a field": lambda: subscribers.page(**call, wanted=Wanted(field=("city", "Bern")), count=50),
        "import": import_,
        "send": send,
        "suppressions of an address": lambda: scoped_suppressions.page(caller=who.owner, count=50, email="a@x.test"),
        "suppressions of a list": lambda: scoped_suppressions.page(caller=who.owner, count=50, scope=Scope("list")),
        "engagement": lambda: engagement.of(None, account_id=1, addresses=["a@x.test"], marks=["", "tag:a"]),
    }
    for name, work in works.items():
        with watched(monkeypatch) as seen:
            work()
        assert seen, name
        for sql, params in seen:
            if sql.lstrip().upper().startswith("SELECT") and any(table in sql for table in LARGE):
                assert scans(sql, params) == [], f"{name}: {sql}"
