"""A local append-only file per process that makes a killed worker's knowledge survive it.

`P id fence lease` names what a transaction is about to claim, `C id fence` that it is claimed, `D id fence`
that the message's bytes are about to leave, `R id fence outcome` what the remote answered. Whoever finds a
journal whose owner is dead replays it: R is applied, D alone is in doubt, C alone is given back at once, P alone
too if the lease is that very one: a claim that was rolled back leaves its fence to the next claimer.
Files of an earlier boot are trusted only with JOURNAL_SYNC: without a sync the last records may have been lost
with the power. Files of another host, on a shared folder, are left to that host.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import logging
import os
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway import clock, ids

_ROTATE_AT = 256 * 1024
_FOREIGN_S = 7 * 86_400
"""Age from which the journal of a host that never came back is thrown away."""
_NEWBORN_S = 60
_log = logging.getLogger("commandpost.journal")


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
    leases: dict[tuple[int, int], int] = field(default_factory=dict)
    """Of those unstarted whose claim may have been rolled back: the lease it would have."""


class Journal:
    """The journal of this process; safe between its threads. `claimed` and `sending` raise OSError on a full disk."""

    def __init__(self, folder: Path, *, sync: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._sync = sync
        self._lock = threading.Lock()
        self._live: dict[tuple[int, int], bytes] = {}  # records since the last flush, by claim
        self._planned: dict[tuple[int, int], int] = {}  # claims whose commit is not known of, and their lease
        self._header = f"{boot_id()} {int(sync)} {socket.gethostname()}\n".encode()
        self._fd, self._path = self._open(b"")
        self._size = 0  # bytes after the header

    def _open(self, carried: bytes) -> tuple[int, Path]:
        path = self._folder / f"{os.getpid()}-{ids.token(8)}.journal"
        # Born under another name and locked before it gets its own: nobody can take it for a dead one's.
        newborn = path.with_suffix(".new")
        fd = os.open(newborn, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            text = self._header + carried
            if os.write(fd, text) < len(text):
                raise OSError(errno.ENOSPC, "the journal cannot be written")
            if self._sync:
                os.fdatasync(fd)
            newborn.rename(path)
        except BaseException:
            newborn.unlink(missing_ok=True)
            os.close(fd)
            raise
        return fd, path

    def claimed(self, pairs: Iterable[tuple[int, int]], lease_ms: int = 0) -> None:
        """Written inside the claiming transaction when there is a lease, to be `confirmed` after its commit."""
        with self._lock:
            some = list(pairs)
            lines = {pair: b"P %d %d %d\n" % (*pair, lease_ms) if lease_ms else b"C %d %d\n" % pair for pair in some}
            self._append(b"".join(lines.values()))
            self._live |= lines
            if lease_ms:
                self._planned |= dict.fromkeys(some, lease_ms)

    def confirmed(self, pairs: Iterable[tuple[int, int]]) -> None:
        """The claims are committed."""
        with self._lock:
            lines = {pair: b"C %d %d\n" % pair for pair in pairs}
            for pair in lines:
                self._planned.pop(pair, None)
            self._live |= lines
            self._try(b"".join(lines.values()))

    def unconfirmed(self) -> dict[tuple[int, int], int]:
        """Claims whose transaction broke off, perhaps after its commit, and the lease each would have."""
        with self._lock:
            planned, self._planned = self._planned, {}
            return planned

    def sending(self, pair: tuple[int, int]) -> None:
        """Written before DATA; from here on a crash leaves the delivery in doubt."""
        with self._lock:
            line = b"D %d %d\n" % pair
            self._append(line)
            self._live[pair] = self._live.get(pair, b"") + line
            if self._sync:
                os.fdatasync(self._fd)

    def answered(self, pair: tuple[int, int], outcome: bytes) -> None:
        """`outcome` is one line of JSON. Never raises: what the remote said must reach the database either way."""
        with self._lock:
            line = b"R %d %d %s\n" % (*pair, outcome)
            self._live[pair] = self._live.get(pair, b"") + line
            self._try(line)

    def flushed(self, pairs: Iterable[tuple[int, int]]) -> None:
        """The database knows these now; the file is started anew when it has grown."""
        with self._lock:
            for pair in pairs:
                self._live.pop(pair, None)
            if self._size > _ROTATE_AT or not self._live:
                try:
                    self._rotate()
                except OSError as error:
                    _log.warning("journal_not_rotated", extra={"cause": str(error)})

    def _append(self, lines: bytes) -> None:
        try:
            written = os.write(self._fd, lines)
            if written < len(lines):
                raise OSError(errno.ENOSPC, "the journal cannot be written")
        except OSError:
            # Half a line would spoil the next one.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, len(self._header) + self._size)
            raise
        self._size += len(lines)

    def _try(self, lines: bytes) -> None:
        try:
            self._append(lines)
        except OSError as error:
            _log.warning("journal_not_written", extra={"cause": str(error)})

    def _rotate(self) -> None:
        if not self._size:
            return
        if not self._live:  # nothing to carry over: the header stays
            os.ftruncate(self._fd, len(self._header))
            self._size = 0
            return
        carried = b"".join(self._live.values())
        old_fd, old_path = self._fd, self._path
        self._fd, self._path = self._open(carried)
        self._size = len(carried)
        old_path.unlink(missing_ok=True)
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
                text = path.read_bytes()
                if _is_foreign(text):
                    # Locks may not reach across hosts, so it may well be alive.
                    if clock.now_ms() / 1000 - os.fstat(fd).st_mtime > _FOREIGN_S:
                        path.unlink(missing_ok=True)
                    continue
                yield _read(text)
                path.unlink(missing_ok=True)
        finally:
            with contextlib.suppress(OSError):
                os.close(fd)
    _forget_newborn(folder)


def _forget_newborn(folder: Path) -> None:
    """Remove what was left by a process that died while it began a file: nothing was written to it yet."""
    for path in folder.glob("*.new"):
        with contextlib.suppress(OSError):
            if clock.now_ms() / 1000 - path.stat().st_mtime > _NEWBORN_S:
                path.unlink()


def _words(text: bytes) -> tuple[str, str, str]:
    """Boot, whether it was synced, and host, as the first line says."""
    words = text.partition(b"\n")[0].decode("utf-8", "replace").split(" ", 2)
    boot, synced, host = (*words, "", "")[:3]
    return boot, synced, host


def _is_foreign(text: bytes) -> bool:
    """Written on another host; one kernel is one host, whatever its containers are called."""
    boot, _, host = _words(text)
    return boot != boot_id() and host not in ("", socket.gethostname())


def _read(text: bytes) -> Remains:
    remains = Remains()
    boot, synced, _ = _words(text)
    body = text.partition(b"\n")[2]
    if boot != boot_id() and synced != "1":
        return remains  # after a power loss its silence proves nothing: the leases run out instead
    last: dict[tuple[int, int], tuple[bytes, bytes]] = {}
    for line in body.split(b"\n")[:-1]:  # a torn last line was not written whole
        parts = line.split(b" ", 3)
        with contextlib.suppress(ValueError, IndexError):
            last[(int(parts[1]), int(parts[2]))] = (parts[0], parts[3] if len(parts) > 3 else b"")
    for pair, (verb, rest) in last.items():
        if verb == b"R":
            remains.answered[pair] = rest
        elif verb == b"D":
            remains.in_doubt.append(pair)
        else:
            remains.unstarted.append(pair)
            if verb == b"P" and rest.isdigit():
                remains.leases[pair] = int(rest)
    return remains
