"""Which destination group a recipient domain belongs to, asked by threads of its own so that slow DNS holds nobody."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

FRESH_S = 60.0
"""An older answer still serves while it is asked for anew; the resolver below has its own times."""

THREADS = 16
_MOST = 50_000
_log = logging.getLogger("commandpost.deliver")


class Directory:
    """`ask` turns a domain into its group and may take seconds; `tell` gets each domain whose group is known now."""

    def __init__(self, ask: Callable[[str], str], tell: Callable[[str], None]) -> None:
        self._ask, self._tell = ask, tell
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._asked: set[str] = set()
        self._questions: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._threads = 0
        self._closed = False

    def group(self, domain: str) -> str | None:
        """The group as far as it is known; otherwise None, and it is asked for."""
        now = time.monotonic()
        with self._lock:
            known = self._known.get(domain)
            if (known is None or now - known[1] > FRESH_S) and domain not in self._asked and not self._closed:
                self._asked.add(domain)
                self._questions.put(domain)
                if self._threads < min(THREADS, len(self._asked)):
                    self._threads += 1
                    threading.Thread(target=self._run, name=f"directory-{self._threads}", daemon=True).start()
            return known[0] if known is not None else None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._questions.put(None)

    def _run(self) -> None:
        while (domain := self._questions.get()) is not None:
            try:
                group = self._ask(domain)
            except Exception:
                _log.exception("group_not_found", extra={"domain": domain})
                group = domain
            with self._lock:
                self._asked.discard(domain)
                self._known[domain] = (group, time.monotonic())
                self._known.move_to_end(domain)
                while len(self._known) > _MOST:
                    self._known.popitem(last=False)
            if not self._closed:
                self._tell(domain)
