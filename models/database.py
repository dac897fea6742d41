"""The two databases and the one way to write to them: `in_transaction`.

`database` holds everything that must survive; `scratch` holds what may be lost with the power
(request counters, heartbeats, last-used marks). On SQLite they are two files, so that a counter
never waits for a commit of mail; on MariaDB/MySQL they are two connections to one schema.
"""

from __future__ import annotations

import fcntl
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import peewee
import pymysql

database = peewee.DatabaseProxy()
scratch = peewee.DatabaseProxy()

T = TypeVar("T")

# A lost or refused connection, a server that goes down, a full table or disk: the caller may come back.
_LOST = frozenset(
    {
        1021, 1030, 1040, 1047, 1053, 1114, 1129, 1158, 1159, 1160, 1161, 1203, 1290, 1836, 1927,
        2002, 2003, 2006, 2013, 2026, 2055, 4031,
    }
)  # fmt: skip
_CONFLICTS = frozenset({1205, 1213})
_NO_ROOM = frozenset({1021, 1114})
_UNAVAILABLE_SQLITE = ("database is locked", "disk is full", "disk i/o error", "unable to open database")
_THIS_HOST = ("127.0.0.1", "::1", "localhost")
_ATTEMPTS = 8
_HASTE_S = 1.0  # readers of the event log stop three seconds ago


class StoreUnavailable(Exception):
    """The database cannot be reached or cannot write now; nothing of the request was stored."""

    retry_after = 5


class StoreFull(StoreUnavailable):
    """There is no room on the disk of the database."""


class _TooLate(Exception):
    """The transaction wrote what readers in the order of ids wait for, and took too long; it is run again."""


class NestedTransaction(RuntimeError):
    """`in_transaction` was entered twice by one thread: a service called another writing service."""


class _State(threading.local):
    inside = False


_state = _State()


class _Trouble:
    """When this process last found the database away."""

    at = float("-inf")  # monotonic


def calm_s() -> float:
    """Seconds since this process last found the database away or not writable."""
    return time.monotonic() - _Trouble.at


def _unavailable(why: str, cause: BaseException | None = None) -> StoreUnavailable:
    _Trouble.at = time.monotonic()
    full = cause is not None and ("disk is full" in str(cause).lower() or _code(cause) in _NO_ROOM)
    return StoreFull(f"{why}: its disk is full") if full else StoreUnavailable(why)


class Model(peewee.Model):
    class Meta:
        database = database
        legacy_table_names = False
        only_save_dirty = True


class ScratchModel(peewee.Model):
    class Meta:
        database = scratch
        legacy_table_names = False


class LongTextField(peewee.TextField):
    """Text up to 4 GB on MySQL, where TEXT ends at 64 kB."""

    field_type = "LONGTEXT"


class MediumBlobField(peewee.BlobField):
    """Bytes up to 16 MB on MySQL, where BLOB ends at 64 kB."""

    field_type = "MEDIUMBLOB"


class WriteGate:
    """An flock that SQLite writers take before BEGIN IMMEDIATE.

    Without it a writer that finds the database locked sleeps in SQLite's busy handler, and p99 is
    several times worse. One descriptor per thread, opened after the fork: flock belongs to the open
    file, so an inherited descriptor would let two processes in.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def acquire(self) -> None:
        if getattr(self._local, "pid", None) != os.getpid():
            self._local.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._local.pid = os.getpid()
        fcntl.flock(self._local.fd, fcntl.LOCK_EX)

    def release(self) -> None:
        fcntl.flock(self._local.fd, fcntl.LOCK_UN)


class SqliteStore(peewee.SqliteDatabase):
    """SQLite in WAL mode behind the write gate."""

    dialect = "sqlite"

    def __init__(self, path: Path, *, durable: bool) -> None:
        super().__init__(
            str(path),
            timeout=10,
            pragmas={
                "journal_mode": "wal",
                "synchronous": "full" if durable else "off",
                "journal_size_limit": 64 * 1024 * 1024,
                "cache_size": -16_000,
                "temp_store": "memory",
            },
        )
        self.gate = WriteGate(path.with_suffix(".lock"))

    def begin_write(self) -> None:
        self.gate.acquire()
        try:
            self.connection().execute("BEGIN IMMEDIATE")
        except BaseException:
            self.gate.release()
            raise

    def end_write(self, verb: str) -> None:
        try:
            self.connection().execute(verb)
        finally:
            self.gate.release()

    def execute_sql(self, sql: str, params: Any = None, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().execute_sql(sql, params, *args, **kwargs)
        except peewee.OperationalError as error:
            if _state.inside or not _is_unavailable(error):
                raise
            raise _unavailable("the database cannot be used now", error) from error

    @staticmethod
    def sql(text: str) -> str:
        return text


class MySQLStore(peewee.MySQLDatabase):
    """MariaDB or MySQL through pymysql; a lost connection is opened anew outside transactions.

    TLS is used where the server offers it; `?ssl=off` in the URL goes without, as do connections to this very
    host unless it says `?ssl=on`: making ready for TLS takes longer than most requests.
    """

    dialect = "mysql"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        host = parts.hostname or "127.0.0.1"
        super().__init__(
            parts.path.lstrip("/"),
            host=host,
            port=parts.port or 3306,
            user=unquote(parts.username or "root"),
            password=unquote(parts.password or ""),
            charset="utf8mb4",
            connect_timeout=int(options.get("connect_timeout", 5)),
            read_timeout=60,
            write_timeout=60,
            ssl_disabled=options.get("ssl", "off" if host in _THIS_HOST else "on") == "off",
            init_command=(
                "SET SESSION innodb_lock_wait_timeout=2,"
                " sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE',"
                " collation_connection='utf8mb4_bin'"
            ),
        )
        self._sql: dict[str, str] = {}

    def _connect(self) -> Any:
        connection = super()._connect()  # type: ignore[misc]
        # A statement of its own: the variable behind it has different names on MariaDB and MySQL.
        connection.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        return connection

    def execute_sql(self, sql: str, params: Any = None, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().execute_sql(sql, params, *args, **kwargs)
        except (peewee.OperationalError, peewee.InterfaceError) as error:
            if _state.inside or not is_lost(error):
                raise
            self.drop_connection()
            try:
                return super().execute_sql(sql, params, *args, **kwargs)
            except (peewee.OperationalError, peewee.InterfaceError) as again:
                if is_lost(again):
                    raise _unavailable("the database cannot be reached") from again
                raise

    def drop_connection(self) -> None:
        _Trouble.at = time.monotonic()
        try:
            self.close()
        except Exception:
            self._state.reset()  # type: ignore[attr-defined]

    def begin_write(self) -> None:
        try:
            self.connection().query("BEGIN")
        except pymysql.err.Error as error:
            if not is_lost(error):
                raise
            self.drop_connection()
            self.connection().query("BEGIN")

    def end_write(self, verb: str) -> None:
        self.connection().query(verb)

    def sql(self, text: str) -> str:
        found = self._sql.get(text)
        if found is None:
            found = self._sql[text] = text.replace("%", "%%").replace("?", "%s")
        return found


class Transaction:
    """What the work inside `in_transaction` may use: raw statements and after-commit callbacks.

    Statements are written once, with `?` for parameters; `dialect` tells where the two databases differ.
    """

    __slots__ = ("_callbacks", "_connection", "_hasty_since", "_store", "dialect")

    def __init__(self, store: SqliteStore | MySQLStore) -> None:
        self._store = store
        self._connection = store.connection()
        self.dialect: str = store.dialect
        self._callbacks: dict[Any, Callable[[], None]] = {}
        self._hasty_since: float | None = None

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """Run one statement; the cursor has `lastrowid`, `rowcount`, `fetchall()`."""
        cursor = self._connection.cursor()
        cursor.execute(self._store.sql(sql), params)
        return cursor

    def execute_text(self, sql: str) -> Any:
        """Run a statement that has its values in it already (`models.many_rows`)."""
        cursor = self._connection.cursor()
        cursor.execute(sql)
        return cursor

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> Any:
        cursor = self._connection.cursor()
        cursor.executemany(self._store.sql(sql), rows if isinstance(rows, list) else list(rows))
        return cursor

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self.execute(sql, params).fetchall())

    def after_commit(self, callback: Callable[[], None], key: Any = None) -> None:
        """Run `callback` once the commit has succeeded; one per key, so a bell rings once."""
        self._callbacks[key if key is not None else callback] = callback

    def hasten(self) -> None:
        """From here to the commit there is one second, else all is run again.

        Who reads in the order of ids on a server, where that is not the order of commits, can so tell
        from which age on no lower id is still to come.
        """
        if self._hasty_since is None and self.dialect != "sqlite":
            self._hasty_since = time.monotonic()

    @property
    def is_late(self) -> bool:
        return self._hasty_since is not None and time.monotonic() - self._hasty_since > _HASTE_S

    def call_back(self) -> None:
        """Run what was put down with `after_commit`."""
        for callback in self._callbacks.values():
            callback()

    @property
    def is_open(self) -> bool:
        """Whether SQLite still has it; some errors take the whole transaction back."""
        return bool(self._connection.in_transaction)


def in_transaction(work: Callable[[Transaction], T]) -> T:
    """Run `work` in one write transaction and return its value after the commit.

    Deadlocks and lock time-outs (MySQL 1213, 1205) and a missed `hasten` run the whole work again, so it
    must not touch anything but the database. Raises `NestedTransaction` when called inside itself and
    `StoreUnavailable` when the database cannot be reached or written.
    """
    if _state.inside:
        raise NestedTransaction(getattr(work, "__qualname__", repr(work)))
    store: SqliteStore | MySQLStore = database.obj
    for attempt in range(_ATTEMPTS):
        try:
            store.begin_write()
        except StoreUnavailable:
            raise
        except Exception as error:
            raise refusal(error) from error
        _state.inside = True
        try:
            tx = Transaction(store)
            value = work(tx)
            if tx.is_late:
                raise _TooLate
            store.end_write("COMMIT")
        except BaseException as error:
            _roll_back(store)
            if attempt < _ATTEMPTS - 1 and (isinstance(error, _TooLate) or _code(error) in _CONFLICTS):
                time.sleep(random.uniform(0.001, 0.01) * 2**attempt)  # noqa: S311 - not a secret
                continue
            refused = refusal(error)
            if refused is error:
                raise
            raise refused from error
        finally:
            _state.inside = False
        tx.call_back()
        return value
    raise AssertionError("unreachable")


def _roll_back(store: SqliteStore | MySQLStore) -> None:
    try:
        store.end_write("ROLLBACK")
    except Exception:
        # The connection is gone or SQLite has rolled back by itself; the next begin has to start clean.
        if isinstance(store, MySQLStore):
            store.drop_connection()
        elif store.connection().in_transaction:
            with suppress(Exception):
                store.close()


def _code(error: BaseException) -> int | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (pymysql.err.Error, peewee.PeeweeException)) and cause.args:
            first = cause.args[0]
            if isinstance(first, int):
                return first
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


def is_lost(error: BaseException) -> bool:
    """Whether the error says that the database server cannot be reached or cannot write now."""
    if isinstance(error, (pymysql.err.InterfaceError, peewee.InterfaceError)):
        return True
    if isinstance(error, (pymysql.err.Error, peewee.PeeweeException)):
        return _code(error) in _LOST
    return isinstance(error, (ConnectionError, TimeoutError))


def _is_unavailable(error: BaseException) -> bool:
    text = str(error).lower()
    return type(error).__name__ == "OperationalError" and any(part in text for part in _UNAVAILABLE_SQLITE)


def refusal(error: BaseException) -> BaseException:
    """What the caller of a failed transaction is told."""
    if isinstance(error, _TooLate):
        return StoreUnavailable("the database is too slow now")
    if is_lost(error) or _is_unavailable(error):
        return _unavailable("the database cannot be written now", error)
    if isinstance(error, (pymysql.err.Error, peewee.PeeweeException)) and _code(error) in _CONFLICTS:
        return StoreUnavailable("too many others write the same rows now")
    return error


def rows(sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Read outside a transaction with the same `?` placeholders."""
    store: SqliteStore | MySQLStore = database.obj
    try:
        return list(store.execute_sql(store.sql(sql), params).fetchall())
    except peewee.OperationalError as error:
        if is_lost(error) or _is_unavailable(error):
            raise _unavailable("the database cannot be read now") from error
        raise


def inside_transaction() -> bool:
    return _state.inside


def dialect() -> str:
    return str(database.obj.dialect)


def connect(url: str, data: Path) -> None:
    """Bind both databases: `sqlite:///path` or `mysql://user:pass@host:port/name`. Opens no connection."""
    if url.startswith("sqlite:"):
        path = Path(url.removeprefix("sqlite:///")) if url != "sqlite:" else data / "commandpost.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        database.initialize(SqliteStore(path, durable=True))
        scratch.initialize(SqliteStore(path.with_name("scratch.db"), durable=False))
    elif re.match(r"(mysql|mariadb)(\+pymysql)?://", url):
        database.initialize(MySQLStore(url))
        scratch.initialize(MySQLStore(url))
    else:
        raise ValueError("should be sqlite:///path or mysql://user:password@host:port/name")


def close() -> None:
    """Close this thread's connections (after a fork, at the end of a test)."""
    for proxy in (database, scratch):
        if proxy.obj is not None and not proxy.is_closed():
            proxy.close()
