"""A greylisting policy server for Postfix (its SMTPD_POLICY protocol): who comes the first time is deferred."""

from __future__ import annotations

import socketserver
import threading
from typing import Self


class Greylist:
    """Defers each (sender, recipient) once with 450 4.2.0; `deferred` has the recipients in their order.

    Our return paths differ from delivery to delivery but not from attempt to attempt, so a retry is known.
    """

    def __init__(self) -> None:
        self.deferred: list[str] = []
        self.known: set[tuple[str, str]] = set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, asked: dict[str, str]) -> str:
        who = (asked.get("sender", ""), asked.get("recipient", ""))
        if who in self.known:
            return "DUNNO"
        self.known.add(who)
        self.deferred.append(who[1])
        return "450 4.2.0 Greylisted, please try again later"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    owner: Greylist


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        asked: dict[str, str] = {}
        for line in self.rfile:
            name, _, value = line.decode().strip().partition("=")
            if name:
                asked[name] = value
                continue
            self.wfile.write(f"action={self.server.owner.answer(asked)}\n\n".encode())
            asked = {}
