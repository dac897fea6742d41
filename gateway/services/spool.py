"""What is on its way to the database: lines in a local file that every process of the host appends to.

A line is in the kernel's hands once `append` returns, so a killed process loses none; a lost power may lose the
last seconds. The reader seals the file by another name and then knows that nobody writes to it any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway import clock, config, ids
from models import database as db

FILE_MOST = 32 * 1024 * 1024
"""Bytes of the file that is written; what finds it full is told to the log and let go."""
SEALED_MOST = 8
"""Sealed files, while the database is away for long: with these the spool is bounded."""

_CURRENT = "current"
_TRIES = 5
_NEGLECTED_S = 10.0
_log = logging.getLogger("commandpost.spool")


class Spool:
    """The writing end of one process; safe between its threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.pid = os.getpid()
        self.folder = folder
        self._path = folder / _CURRENT
        self._lock = threading.Lock()
        self._fd = -1
        self._full = False

    def append(self, line: bytes) -> bool:
        """Add a line without its end; False where the spool is full or the disk refuses. Never raises `OSError`."""
        # A line end on both sides: what a full disk cut off is a line of its own and spoils no other.
        data = b"\n" + line + b"\n"
        try:
            with self._lock:
                kept = self._append(data)
        except OSError as error:
            _log.warning("line_not_kept", extra={"spool": self.folder.name, "cause": str(error)})
            return False
        if not kept and not self._full:
            _log.warning("lines_not_kept", extra={"spool": self.folder.name, "cause": "the spool is full"})
        self._full = not kept
        return kept

    def _append(self, data: bytes) -> bool:
        for _ in range(_TRIES):
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_SH)
            try:
                found = os.fstat(self._fd)
                if self._is_current(found.st_ino):
                    return found.st_size + len(data) <= FILE_MOST and os.write(self._fd, data) == len(data)
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1
        return False

    def _is_current(self, inode: int) -> bool:
        try:
            return os.stat(self._path).st_ino == inode
        except FileNotFoundError:
            return False

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file that nobody writes to any more; `name` is like no other of any host."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def at_ms(self) -> int:
        """When it was sealed."""
        text = self.name.partition("-")[0]
        return int(text) if text.isdigit() else 0

    def lines(self, start: int, most: int) -> list[tuple[bytes, int]]:
        """Up to `most` lines from byte `start`, each with where it ends."""
        return _lines(self.path, start, most)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class Place:
    """The spool of that name in this host's data directory: both its ends."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._suffix = f".{name}"
        self._spool: Spool | None = None

    def append(self, line: bytes) -> bool:
        """Add a line; False where it could not be kept."""
        wanted = self.folder()
        used = self._spool
        if used is None or used.pid != os.getpid() or used.folder != wanted:
            if used is not None and used.pid == os.getpid():  # after a fork its lock may be held for ever
                used.close()
            used = self._spool = Spool(wanted)
        return used.append(line)

    def folder(self) -> Path:
        return config.settings().data / self.name

    def sealed(self) -> list[Sealed]:
        """The oldest first."""
        return [Sealed(path) for path in sorted(self.folder().glob(f"*{self._suffix}"))]

    def seal(self) -> Sealed | None:
        """Begin a new file and return the one so far; None where nothing was written."""
        path = self.folder() / _CURRENT
        try:
            if not path.stat().st_size:
                return None
            made = Sealed(self.folder() / f"{clock.now_ms():015d}-{ids.token(16)}{self._suffix}")
            path.rename(made.path)
        except FileNotFoundError:
            return None
        # Whoever was writing has finished once this lock is ours; who comes later sees that the file moved away.
        with made.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
        return made

    def waiting(self) -> bool:
        """Whether anything waits to be read."""
        try:
            return (self.folder() / _CURRENT).stat().st_size > 0 or bool(self.sealed())
        except FileNotFoundError:
            return bool(self.sealed())

    def files(self) -> frozenset[tuple[str, int]]:
        """Name and inode of each file with lines in it."""
        paths = (*self.folder().glob(f"*{self._suffix}"), *self.folder().glob(_CURRENT))
        found = [(path, path.stat()) for path in paths]
        return frozenset((path.name, stat.st_ino) for path, stat in found if stat.st_size)

    def written(self, most: int) -> list[bytes]:
        """The first lines of the file that is being written, for a look ahead."""
        try:
            return [line for line, _ in _lines(self.folder() / _CURRENT, 0, most)]
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def reading(self) -> Iterator[bool]:
        """Whether this process alone reads the spool of this host until the end of the block."""
        self.folder().mkdir(parents=True, exist_ok=True)
        with (self.folder() / "reader.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True

    def look_after(self, drain: Callable[[float], object]) -> threading.Event:
        """Drain in the background what no worker of this host does: web and SMTP may have hosts of their own.

        Set the event to end it.
        """
        stop = threading.Event()
        threading.Thread(target=self._look_after, args=(drain, stop), name=self.name, daemon=True).start()
        return stop

    def _look_after(self, drain: Callable[[float], object], stop: threading.Event) -> None:
        before: frozenset[tuple[str, int]] = frozenset()
        while not stop.wait(_NEGLECTED_S):
            try:
                now = self.files()
                if before & now:  # as long as workers come by, no file stays
                    drain(_NEGLECTED_S)
                    now = self.files()
                before = now
            except db.StoreUnavailable as error:
                _log.warning("spool_postponed", extra={"spool": self.name, "cause": str(error)})
            except Exception:
                _log.exception("spool_not_drained", extra={"spool": self.name})
            finally:
                db.close()


def _lines(path: Path, start: int, most: int) -> list[tuple[bytes, int]]:
    found: list[tuple[bytes, int]] = []
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            start += len(line)
            if line != b"\n" and line.endswith(b"\n"):
                found.append((line[:-1], start))
                if len(found) == most:
                    break
    return found
