"""A fork server: starts parts from one warm process, restarts what dies, stops all of it in order."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.process import die_with_parent

Main = Callable[[], int]

_HEARD = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_log = logging.getLogger("commandpost.supervisor")
_GC = (25_000, 20, 20)
"""New objects, and rounds of the younger, between two collections. At Python's own few, all the messages of a bulk
request are searched for garbage again and again while it is read."""


@dataclass
class _Part:
    name: str
    main: Main
    pid: int = 0  # 0: not running
    started: float = 0.0
    due: float = 0.0  # monotonic time of the next start
    pause: float = 0.1


@dataclass
class Supervisor:
    """Times are seconds. `first` names the parts that stop before the others: those that take work in."""

    mains: Mapping[str, Main]
    first: Iterable[str] = ()
    pause: float = 0.1  # before a dead part starts again
    longest_pause: float = 10.0
    young: float = 5.0  # dying before this age makes the pause grow
    grace_first: float = 10.0
    grace: float = 25.0  # for everything, counted from the stop signal
    _parts: dict[str, _Part] = field(default_factory=dict)
    _asides: set[int] = field(default_factory=set)
    _hurry: bool = False
    _killed: bool = False

    def in_child(self, main: Main) -> int:
        """Run `main` in a short-lived process of its own, wait for it and return its exit status."""
        pid = self._fork(main)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def run(self, beside: Main | None = None) -> int:
        """Run all parts until SIGTERM or SIGINT; `beside` runs once in a process of its own.

        Returns 0 after a clean stop, 1 where a part had to be killed.
        """
        gc.collect()
        gc.freeze()  # what is there now is never collected, so its pages stay shared
        gc.set_threshold(*_GC)
        old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        try:
            self._parts = {name: _Part(name, main, pause=self.pause) for name, main in self.mains.items()}
            for part in self._parts.values():
                self._start(part)
            if beside is not None:
                self._asides.add(self._fork(beside))
            self._watch()
            self._stop()
        finally:
            self._kill(self._parts.values())
            signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
        return 1 if self._killed else 0

    def _fork(self, main: Main) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            # A group of its own: Ctrl-C reaches the supervisor alone, which then stops the parts in order.
            os.setpgid(0, 0)
            die_with_parent(parent)
            for number in _HEARD:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            status = main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except KeyboardInterrupt:
            status = 130
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _start(self, part: _Part) -> None:
        part.pid = self._fork(part.main)
        part.started = time.monotonic()
        _log.info("part_started", extra={"part": part.name, "pid": part.pid})

    def _watch(self) -> None:
        while True:
            waiting = [part.due for part in self._parts.values() if not part.pid]
            timeout = max(0.0, min(waiting) - time.monotonic()) if waiting else 3600.0
            heard = signal.sigtimedwait(_HEARD, timeout)
            if heard is not None and heard.si_signo in (signal.SIGTERM, signal.SIGINT):
                _log.info("stopping")
                return
            for part, status in self._reap():
                age = time.monotonic() - part.started
                part.pause = min(self.longest_pause, part.pause * 2) if age < self.young else self.pause
                part.due = time.monotonic() + part.pause
                facts = {"part": part.name, "status": status, "age": round(age, 1), "again_in": part.pause}
                _log.error("part_died", extra=facts)
            for part in self._parts.values():
                if not part.pid and part.due <= time.monotonic():
                    self._start(part)

    def _reap(self) -> list[tuple[_Part, int]]:
        """The parts that ended, with their exit status (negative: the signal that killed them)."""
        ended = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            self._asides.discard(pid)
            for part in self._parts.values():
                if part.pid == pid:
                    _kill_group(pid)  # what it left behind would hold its port
                    part.pid = 0
                    ended.append((part, os.waitstatus_to_exitcode(status)))
        return ended

    def _stop(self) -> None:
        started = time.monotonic()
        for pid in self._asides:
            _kill_group(pid)
        first = [part for part in self._parts.values() if part.name in set(self.first)]
        rest = [part for part in self._parts.values() if part not in first]
        self._end(first, started + self.grace_first)
        self._end(rest, started + self.grace)

    def _end(self, parts: list[_Part], deadline: float) -> None:
        for part in parts:
            if part.pid:
                with suppress(ProcessLookupError):
                    os.kill(part.pid, signal.SIGTERM)
        while any(part.pid for part in parts):
            left = deadline - time.monotonic()
            if self._hurry or left <= 0:
                self._kill(parts)
                return
            heard = signal.sigtimedwait(_HEARD, min(left, 1.0))
            if heard is not None and heard.si_signo in (signal.SIGTERM, signal.SIGINT):
                _log.warning("stopping_at_once")
                self._hurry = True
            self._reap()

    def _kill(self, parts: Iterable[_Part]) -> None:
        for part in parts:
            if part.pid:
                _log.warning("part_killed", extra={"part": part.name})
                _kill_group(part.pid)
                with suppress(ProcessLookupError):
                    os.kill(part.pid, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(part.pid, 0)
                part.pid = 0
                self._killed = True


def _kill_group(pid: int) -> None:
    """Kill what belongs to a part beside its main process; the group may be empty already."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
