"""One commit for the works of several threads: on SQLite the sync to disk is what an accepted message waits for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from models import database as db
from models.database import SqliteStore, Transaction

_MOST = 32
"""Works in one transaction: other processes wait meanwhile."""

T = TypeVar("T")


class _Entry:
    """The work of one waiting thread, and what became of it."""

    __slots__ = ("committed", "error", "leads", "tx", "value", "woken", "work")

    def __init__(self, work: Callable[[Transaction], Any]) -> None:
        self.work = work
        self.tx: Transaction | None = None  # where it shares a transaction
        self.value: Any = None
        self.committed = False
        self.error: BaseException | None = None
        self.leads = False
        self.woken = threading.Event()


class _Queue:
    """The first thread to come leads: it takes all that wait, and hands the lead on when it is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Entry] = []
        self._busy = False

    def enter(self, entry: _Entry) -> None:
        """Returns once the entry is settled or leads."""
        with self._lock:
            self._waiting.append(entry)
            if not self._busy:
                self._busy = entry.leads = True
                return
        entry.woken.wait()

    def take(self) -> list[_Entry]:
        with self._lock:
            taken, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            return taken

    def hand_on(self) -> None:
        with self._lock:
            if not self._waiting:
                self._busy = False
                return
            self._waiting[0].leads = True
            self._waiting[0].woken.set()


_queue = _Queue()


def _start_anew() -> None:
    global _queue
    _queue = _Queue()


os.register_at_fork(after_in_child=_start_anew)


def in_shared_transaction(work: Callable[[Transaction], T]) -> T:
    """As `in_transaction`, but on SQLite threads that come while another commits share the next commit.

    Returns after that commit. The work may run in another thread, and uses nothing but its `Transaction`; one that
    raises takes back its own statements alone. Elsewhere the server groups commits by itself.
    """
    if not isinstance(db.database.obj, SqliteStore):
        return db.in_transaction(work)
    if db.inside_transaction():
        raise db.NestedTransaction(getattr(work, "__qualname__", repr(work)))
    entry = _Entry(work)
    queue = _queue
    queue.enter(entry)
    if entry.leads:
        taken: list[_Entry] = []
        try:
            taken = queue.take()
            _commit(taken)
        finally:
            queue.hand_on()
            for other in taken:
                other.woken.set()
    if entry.error is not None:
        raise entry.error
    if not entry.committed:
        raise db.StoreUnavailable("the thread that was to commit has ended")
    if entry.tx is not None:
        entry.tx.call_back()
    return cast(T, entry.value)


def _commit(entries: list[_Entry]) -> None:
    """Run all in one transaction and settle each; what is wrong with the transaction is wrong with all of them."""
    try:
        if len(entries) == 1:
            entries[0].value = db.in_transaction(entries[0].work)
        else:
            db.in_transaction(lambda _: _run(entries))
    except BaseException as error:
        for entry in entries:
            entry.error = entry.error or error
        if not isinstance(error, Exception):
            raise
    for entry in entries:
        entry.committed = entry.error is None


def _run(entries: list[_Entry]) -> None:
    for entry in entries:
        entry.tx = tx = Transaction(cast(SqliteStore, db.database.obj))
        tx.execute("SAVEPOINT one")
        try:
            entry.value = entry.work(tx)
        except Exception as error:
            if not tx.is_open:  # SQLite took everything back: a full disk, say
                raise
            tx.execute("ROLLBACK TO one")
            entry.error = db.refusal(error)
        tx.execute("RELEASE one")
