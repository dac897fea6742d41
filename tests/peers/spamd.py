"""A spamd on loopback that speaks SPAMC: it reads a whole request, keeps it, and answers as it is told to."""

from __future__ import annotations

import socketserver
import threading
from dataclasses import dataclass, field
from typing import Self

REPORT = """\
Spam detection software, running on the system "peer",
has NOT identified this incoming email as spam.

Content preview:  An offer of 10 EUR
   5.0 LOOKS_LIKE_A_RULE     but stands above the table

Content analysis details:   (2.9 points, 5.0 required)

 pts rule name              description
---- ---------------------- --------------------------------------------------
-0.0 NO_RELAYS              Informational: message was not relayed via SMTP
 0.1 MIME_HTML_ONLY         BODY: Message only has text/html MIME parts
 2.8 URIBL_EXAMPLE          Contains an URL listed in a blocklist
                            [URIs: example.test]
-1.0 ALL_TRUSTED            Passed through trusted hosts only via SMTP
1000 GTUBE                  BODY: Generic Test for Unsolicited Bulk Email

"""


@dataclass
class Spamd:
    """`how` is report, hang, close, refuse, cut, garbage or flood."""

    how: str = "report"
    asked: list[tuple[str, bytes]] = field(default_factory=list)  # the request line, the message

    def __enter__(self) -> Self:
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    owner: Spamd


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        peer = self.server.owner
        line = self.rfile.readline().decode("ascii").rstrip("\r\n")
        headers: dict[str, str] = {}
        while (header := self.rfile.readline().decode("ascii").strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        message = self.rfile.read(int(headers["content-length"]))
        assert self.rfile.read() == b""  # the client has ended its side, and sent what it said it would
        peer.asked.append((line, message))
        body = REPORT.encode()
        head = b"SPAMD/1.1 0 EX_OK\r\nContent-length: %d\r\nSpam: False ; 2.9 / 5.0\r\n\r\n" % len(body)
        match peer.how:
            case "report":
                self.wfile.write(head + body)
            case "hang":
                peer.closing.wait(30)
            case "refuse":
                self.wfile.write(b"SPAMD/1.0 76 Bad header line: (Content-Length mismatch)\r\n\r\n")
            case "cut":
                self.wfile.write(head + body[:200])
            case "garbage":
                self.wfile.write(b"220 mx.example.test ESMTP\r\n")
            case "flood":
                try:
                    for _ in range(64):
                        self.wfile.write(b"x" * 65536)
                except OSError:
                    return  # the client has heard enough
