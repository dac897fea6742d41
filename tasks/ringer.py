"""Rings bells at the broker from a thread of its own, so that no request ever waits for one."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gateway import clock, config, jobs
from tasks import bells
from tasks.app import EXPIRES, QUEUE_OF, app, configure, queue_name, task_name

GAP = 0.2
"""Seconds between two bells of one job by one process; the first rings at once."""
_PAUSE = 1.0
_log = logging.getLogger("commandpost.ringer")


class Ringer:
    """One slot per job: a job rung twice before its turn rings once. A bell that fails is tried again."""

    def __init__(self, send: Callable[[str], None], gap: float = GAP, pause: float = _PAUSE) -> None:
        self._send, self._gap, self._pause = send, gap, pause
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._change = threading.Condition(threading.Lock())
        self._waiting: dict[str, float] = {}  # job -> monotonic time of its turn
        self._last: dict[str, float] = {}
        self._sending = False
        self._thread: threading.Thread | None = None

    def ring(self, job: str) -> None:
        """Note the bell and return; starts the thread on the first call in each process."""
        if self._pid != os.getpid():  # forked: the lock may be held by a thread that is not here
            self._start_anew()
        with self._change:
            self._waiting.setdefault(job, self._last.get(job, 0.0) + self._gap)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)
                self._thread.start()
            self._change.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until nothing waits to be rung (a process that is about to end); False when time ran out."""
        if self._pid != os.getpid():
            return True
        with self._change:
            return self._change.wait_for(lambda: not self._waiting and not self._sending, seconds)

    def _next(self) -> str:
        with self._change:
            self._sending = False
            self._change.notify_all()
            while True:
                now = time.monotonic()
                job, turn = min(self._waiting.items(), key=lambda item: item[1], default=("", now + 3600))
                if turn <= now:
                    del self._waiting[job]
                    self._last[job] = now
                    self._sending = True
                    return job
                self._change.wait(turn - now)

    def _run(self) -> None:
        failing = False
        while True:
            job = self._next()
            try:
                self._send(job)
                if failing:
                    _log.info("broker_back")
                failing = False
            except Exception as error:
                if not failing:
                    _log.warning("broker_unreachable", extra={"cause": f"{type(error).__name__}: {error}"})
                failing = True
                with self._change:
                    self._waiting[job] = time.monotonic() + self._pause


class _Line:
    """The ringer thread's own connection to the broker."""

    def __init__(self) -> None:
        self._pid = 0
        self._connection: Any = None
        self._producer: Any = None

    def send(self, job: str) -> None:
        try:
            if self._pid != os.getpid():
                self._connection = None
            if self._connection is None:
                self._open()
            queue = queue_name(QUEUE_OF[job])
            # RabbitMQ bounds its queues itself; elsewhere nobody may be listening for days.
            size = getattr(self._producer.channel, "_size", None)
            if size is not None and app.conf.broker_url.startswith("redis") and size(queue) >= bells.MOST:
                return
            app.send_task(
                task_name(job),
                (clock.now_ms(),),
                queue=queue,
                producer=self._producer,
                expires=EXPIRES,
                retry=False,
                ignore_result=True,
            )
        except BaseException:
            self._close()
            raise

    def _open(self) -> None:
        self._pid = os.getpid()
        self._connection = app.connection_for_write()
        self._connection.connect()
        self._producer = app.amqp.Producer(self._connection, auto_declare=False)

    def _close(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                connection.collapse() if hasattr(connection, "collapse") else connection.release()


_ringer = Ringer(_Line().send)


def install() -> None:
    """Have the jobs that services name rung at the broker of the settings."""
    configure(config.settings())
    jobs.bind(_ringer.ring)


def ring(job: str) -> None:
    _ringer.ring(job)


def flush(seconds: float = 2.0) -> bool:
    """Wait for bells still to be rung; for processes that end right after their work."""
    return _ringer.flush(seconds)
