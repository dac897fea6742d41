"""A local append-only file per process that makes a killed worker's knowledge survive it.

`C id fence` names what was claimed, `D id fence` says that the message's bytes are about to leave,
`R id fence outcome` what the remote answered. Whoever finds a journal whose owner is dead replays it:
R is applied, D alone is in doubt, C alone is given back at once. Files of an earlier boot are trusted
only with JOURNAL_SYNC: without a sync the last records may have been lost with the power.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway import ids

_ROTATE_AT = 256 * 1024


@functools.cache
def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


@dataclass(slots=True)
class Remains:
    """What a dead process's journal says, as (id, fence) pairs and outcomes."""

    unstarted: list[tuple[int, int]] = field(default_factory=list)
    in_doubt: list[tuple[int, int]] = field(default_factory=list)
    answered: dict[tuple[int, int], bytes] = field(default_factory=dict)


class Journal:
    """The journal of this process; safe between its threads."""

    def __init__(self, folder: Path, *, sync: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._sync = sync
        self._lock = threading.Lock()
        self._live: dict[tuple[int, int], bytes] = {}  # records since the last flush, by claim
        self._fd, self._path = self._open()
        self._size = 0

    def _open(self) -> tuple[int, Path]:
        path = self._folder / f"{os.getpid()}-{ids.token(8)}.journal"
        # Born under another name and locked before it gets its own: nobody can take it for a dead one's.
        newborn = path.with_suffix(".new")
        fd = os.open(newborn, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(fd, f"{boot_id()} {int(self._sync)}\n".encode())
        newborn.rename(path)
        return fd, path

    def claimed(self, pairs: Iterable[tuple[int, int]]) -> None:
        with self._lock:
            lines = b""
            for pair in pairs:
                line = b"C %d %d\n" % pair
                self._live[pair] = line
                lines += line
            self._append(lines)

    def sending(self, pair: tuple[int, int]) -> None:
        """Written before DATA; from here on a crash leaves the delivery in doubt."""
        with self._lock:
            line = b"D %d %d\n" % pair
            self._live[pair] = self._live.get(pair, b"") + line
            self._append(line)
            if self._sync:
                os.fdatasync(self._fd)

    def answered(self, pair: tuple[int, int], outcome: bytes) -> None:
        """`outcome` is one line of JSON."""
        with self._lock:
            line = b"R %d %d %s\n" % (*pair, outcome)
            self._live[pair] = self._live.get(pair, b"") + line
            self._append(line)

    def flushed(self, pairs: Iterable[tuple[int, int]]) -> None:
        """The database knows these now; the file is started anew when it has grown."""
        with self._lock:
            for pair in pairs:
                self._live.pop(pair, None)
            if self._size > _ROTATE_AT or not self._live:
                self._rotate()

    def _append(self, lines: bytes) -> None:
        os.write(self._fd, lines)
        self._size += len(lines)

    def _rotate(self) -> None:
        if not self._size:
            return
        if not self._live:  # nothing to carry over: the header stays
            os.ftruncate(self._fd, len(boot_id()) + 3)
            self._size = 0
            return
        old_fd, old_path = self._fd, self._path
        self._fd, self._path = self._open()
        self._size = 0
        self._append(b"".join(self._live.values()))
        if self._sync:
            os.fdatasync(self._fd)
        old_path.unlink()
        os.close(old_fd)

    def close(self) -> None:
        """Leave the file to be replayed if anything in it is unsettled, else remove it."""
        with self._lock:
            if not self._live:
                self._path.unlink(missing_ok=True)
            os.close(self._fd)


def orphans(folder: Path) -> Iterator[Remains]:
    """What each dead process left behind; its file is removed once the caller comes back for the next one."""
    if not folder.is_dir():
        return
    for path in sorted(folder.glob("*.journal")):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)  # its owner lives
            continue
        try:
            # Another finder may have replayed and removed it between the opening and the lock.
            if path.exists() and os.fstat(fd).st_nlink:
                yield _read(path.read_bytes())
                path.unlink(missing_ok=True)
        finally:
            with contextlib.suppress(OSError):
                os.close(fd)


def _read(text: bytes) -> Remains:
    remains = Remains()
    header, _, body = text.partition(b"\n")
    boot, _, synced = header.decode("ascii", "replace").partition(" ")
    if boot != boot_id() and synced != "1":
        return remains  # after a power loss its silence proves nothing: the leases run out instead
    last: dict[tuple[int, int], tuple[bytes, bytes]] = {}
    for line in body.split(b"\n")[:-1]:  # a torn last line was not written whole
        parts = line.split(b" ", 3)
        with contextlib.suppress(ValueError, IndexError):
            last[(int(parts[1]), int(parts[2]))] = (parts[0], parts[3] if len(parts) > 3 else b"")
    for pair, (verb, outcome) in last.items():
        if verb == b"R":
            remains.answered[pair] = outcome
        elif verb == b"D":
            remains.in_doubt.append(pair)
        else:
            remains.unstarted.append(pair)
    return remains
