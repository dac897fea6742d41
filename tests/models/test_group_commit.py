"""Works of several threads in one commit: each is answered after it, and fails alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from gateway import clock, errors
from models import database as db
from models.database import Transaction
from models.group_commit import in_shared_transaction

pytestmark = pytest.mark.usefixtures("store")

_INSERT = "INSERT INTO content (kind, size, codec, sha256, created_ms) VALUES ('parts', 1, 0, ?, ?)"


def _insert(name: str) -> Callable[[Transaction], str]:
    def work(tx: Transaction) -> str:
        tx.execute(_INSERT, (name, clock.now_ms()))
        return name

    return work


def _stored() -> set[str]:
    return {name for (name,) in db.rows("SELECT sha256 FROM content")}


class _Crowd:
    """Threads whose works wait while a first transaction is held open, so that they meet in the next one."""

    def __init__(self, works: dict[str, Callable[[Transaction], Any]]) -> None:
        self.values: dict[str, Any] = {}
        self.errors: dict[str, BaseException] = {}
        entered, leave = threading.Event(), threading.Event()

        def hold(tx: Transaction) -> None:
            entered.set()
            assert leave.wait(10)

        threads = [threading.Thread(target=self._run, args=item) for item in works.items()]
        first = threading.Thread(target=self._run, args=("first", hold))
        first.start()
        assert entered.wait(10)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(0.05)  # they wait for the first
        leave.set()
        for thread in (first, *threads):
            thread.join(20)
            assert not thread.is_alive()

    def _run(self, name: str, work: Callable[[Transaction], Any]) -> None:
        try:
            self.values[name] = in_shared_transaction(work)
        except Exception as error:
            self.errors[name] = error
        finally:
            db.close()


def test_every_thread_gets_its_own_value_and_its_rows_are_there() -> None:
    names = [f"row-{n}" for n in range(12)]
    crowd = _Crowd({name: _insert(name) for name in names})
    assert crowd.errors == {}
    assert crowd.values == {name: name for name in names} | {"first": None}
    assert _stored() == set(names)


def test_who_is_refused_takes_nobody_along() -> None:
    def refused(tx: Transaction) -> None:
        _insert("refused")(tx)
        raise errors.QuotaReached()

    def broken(tx: Transaction) -> None:
        _insert("broken")(tx)
        tx.execute("INSERT INTO no_such_table VALUES (1)")

    crowd = _Crowd({"one": _insert("one"), "refused": refused, "broken": broken, "two": _insert("two")})
    assert isinstance(crowd.errors["refused"], errors.QuotaReached)
    assert set(crowd.errors) == {"refused", "broken"}
    assert _stored() == {"one", "two"}


def test_callbacks_run_once_after_the_commit_and_only_where_it_succeeded() -> None:
    rung: list[str] = []

    def ring(name: str, fault: Exception | None = None) -> Callable[[Transaction], None]:
        def work(tx: Transaction) -> None:
            _insert(name)(tx)
            tx.after_commit(lambda: rung.append(name) if name in _stored() else rung.append("too early"), key=name)
            if fault is not None:
                raise fault

        return work

    _Crowd({"one": ring("one"), "no": ring("no", errors.QuotaReached()), "two": ring("two")})
    assert sorted(rung) == ["one", "two"]


def test_a_commit_that_fails_fails_for_all_and_the_next_works(monkeypatch: pytest.MonkeyPatch) -> None:
    store = db.database.obj
    end_write = store.end_write
    fail = threading.Event()

    def ending(verb: str) -> None:
        if verb == "COMMIT" and fail.is_set():
            fail.clear()
            raise db.StoreUnavailable("the disk is full")
        end_write(verb)

    monkeypatch.setattr(store, "end_write", ending)

    def arm(tx: Transaction) -> None:
        _insert("arm")(tx)
        fail.set()

    with pytest.raises(db.StoreUnavailable):
        in_shared_transaction(arm)
    assert _stored() == set()
    assert in_shared_transaction(_insert("next")) == "next"
    assert _stored() == {"next"}


def test_it_does_not_nest() -> None:
    with pytest.raises(db.NestedTransaction):
        in_shared_transaction(lambda tx: in_shared_transaction(_insert("inner")))
    assert _stored() == set()
    assert in_shared_transaction(_insert("after")) == "after"
