"""Tracking hits on their way to the database: lines in a local file that every process of the host appends to.

A line is in the kernel's hands once `append` returns, so a killed process loses none; a lost power may lose the
last seconds. The reader seals the file by another name and then knows that nobody writes to it any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway import clock, config, ids

FILE_MOST = 32 * 1024 * 1024
"""Bytes of the file that is written; hits that find it full are told to the log and let go."""
SEALED_MOST = 8
"""Sealed files, while the database is away for long: with these the spool is bounded."""

_CURRENT = "current"
_SUFFIX = ".hits"
_TRIES = 5
_log = logging.getLogger("commandpost.hits")


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
            _log.warning("hit_not_kept", extra={"cause": str(error)})
            return False
        if not kept and not self._full:
            _log.warning("hits_not_kept", extra={"cause": "the spool is full"})
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


_spool: Spool | None = None


def append(line: bytes) -> bool:
    """Add a line to the spool of this host's data directory."""
    global _spool
    wanted = folder()
    if _spool is None or _spool.pid != os.getpid() or _spool.folder != wanted:
        _spool = Spool(wanted)
    return _spool.append(line)


def folder() -> Path:
    return config.settings().data / "hits"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file that nobody writes to any more; `name` is like no other of any host."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(_SUFFIX)

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


def sealed() -> list[Sealed]:
    """The oldest first."""
    return [Sealed(path) for path in sorted(folder().glob(f"*{_SUFFIX}"))]


def seal() -> Sealed | None:
    """Begin a new file and return the one so far; None where nothing was written."""
    path = folder() / _CURRENT
    try:
        if not path.stat().st_size:
            return None
        made = Sealed(folder() / f"{clock.now_ms():015d}-{ids.token(16)}{_SUFFIX}")
        path.rename(made.path)
    except FileNotFoundError:
        return None
    # Whoever was writing has finished once this lock is ours; who comes later sees that the file moved away.
    with made.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    return made


def waiting() -> bool:
    """Whether anything waits to be read."""
    try:
        return (folder() / _CURRENT).stat().st_size > 0 or bool(sealed())
    except FileNotFoundError:
        return bool(sealed())


def files() -> frozenset[tuple[str, int]]:
    """Name and inode of each file with hits in it."""
    found = [(path, path.stat()) for path in (*folder().glob(f"*{_SUFFIX}"), *folder().glob(_CURRENT))]
    return frozenset((path.name, stat.st_ino) for path, stat in found if stat.st_size)


def written(most: int) -> list[bytes]:
    """The first lines of the file that is being written, for a look ahead."""
    try:
        return [line for line, _ in _lines(folder() / _CURRENT, 0, most)]
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def reading() -> Iterator[bool]:
    """Whether this process alone reads the spool of this host until the end of the block."""
    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / "reader.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


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
