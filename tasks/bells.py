"""The embedded broker: a kombu transport that keeps bells as files in a folder per queue.

It may carry bells only. A queue never holds more than `MOST` of them (the oldest goes first), a bell is
never read half written, and a folder that was wiped comes back by itself.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, virtual

MOST = 50

SCHEME = "bells"
TRANSPORT_ALIASES[SCHEME] = "tasks.bells:Transport"

_numbers = itertools.count()
_ATTENTION_S = 0.1


class Channel(virtual.Channel):
    do_restore = False

    def _folder(self, queue: str) -> Path:
        return Path(self.connection.client.transport_options["folder"]) / queue

    @staticmethod
    def _names(folder: Path) -> list[str]:
        try:
            return sorted(name for name in os.listdir(folder) if name[0] != ".")
        except FileNotFoundError:
            return []

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        folder = self._folder(queue)
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(_numbers)}"
        hidden = folder / f".{name}"
        text = json.dumps(message)
        for attempt in range(3):
            try:
                hidden.write_text(text)
                hidden.rename(folder / name)
                break
            except FileNotFoundError:
                if attempt == 2:
                    raise
                folder.mkdir(parents=True, exist_ok=True)
        for old in self._names(folder)[:-MOST]:
            (folder / old).unlink(missing_ok=True)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        folder = self._folder(queue)
        for name in self._names(folder):
            taken = folder / f".{name}"
            with suppress(OSError, ValueError):  # another worker was quicker, or the folder was wiped
                os.rename(folder / name, taken)
                text = taken.read_text()
                taken.unlink()
                return json.loads(text)
        raise Empty

    def _size(self, queue: str) -> int:
        return len(self._names(self._folder(queue)))

    def _purge(self, queue: str) -> int:
        size = self._size(queue)
        shutil.rmtree(self._folder(queue), ignore_errors=True)
        return size


class Transport(virtual.Transport):
    Channel = Channel
    driver_type = driver_name = SCHEME
    global_state = virtual.BrokerState()

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        self.state = self.global_state

    def drain_events(self, connection: Any, timeout: Any = None, **_: Any) -> Any:
        """As ever, but with nothing it is back soon: Celery, which asks for two seconds, sees only between two calls
        that the worker is to stop, and then calls once more."""
        return super().drain_events(connection, timeout and min(timeout, _ATTENTION_S))

    def driver_version(self) -> str:
        return "1"
