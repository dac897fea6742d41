"""An authoritative DNS server on loopback, over UDP and TCP, whose records a test sets."""

from __future__ import annotations

import socketserver
import threading
from collections import Counter
from typing import Any, Self

import dnslib


class DnsServer:
    """Answers from the records added; an unknown name is NXDOMAIN, a known one without the type NOERROR and empty.

    Records have a TTL of 0 unless told otherwise, so that a change is seen at once.
    """

    def __init__(self, *, ttl: int = 0) -> None:
        self.ttl = ttl
        self.queries: Counter[tuple[str, str]] = Counter()  # (name, type) → how often it was asked
        self._records: dict[str, dict[str, list[str]]] = {}
        self._broken: dict[str, str] = {}
        self._signed: set[str] = set()
        self._signed_alone: set[str] = set()
        self._lock = threading.Lock()
        self._udp, self._tcp = self._bind()
        self.port = int(self._udp.socket.getsockname()[1])
        for server in (self._udp, self._tcp):
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        """`127.0.0.1:port`, as COMMANDPOST_DNS wants it."""
        return f"127.0.0.1:{self.port}"

    def add(self, name: str, type_: str, *values: str) -> None:
        """Add records in their zone-file form without quotes: `("example.com", "MX", "10 mx.example.com")`.

        A TXT value may have any length (it is cut into strings of 255 bytes).
        """
        with self._lock:
            self._records.setdefault(_key(name), {}).setdefault(type_.upper(), []).extend(values)

    def set(self, name: str, type_: str, *values: str) -> None:
        """Replace the records of that name and type."""
        with self._lock:
            self._records.setdefault(_key(name), {})[type_.upper()] = list(values)

    def remove(self, name: str, type_: str | None = None) -> None:
        """Forget the records of that type, or the whole name; absent ones are no error."""
        with self._lock:
            if type_ is None:
                self._records.pop(_key(name), None)
            else:
                types = self._records.get(_key(name), {})
                types.pop(type_.upper(), None)
                if not types:
                    self._records.pop(_key(name), None)

    def servfail(self, name: str) -> None:
        """Answer SERVFAIL for that name from now on."""
        self._broken[_key(name)] = "servfail"

    def silence(self, name: str) -> None:
        """Never answer for that name from now on."""
        self._broken[_key(name)] = "silence"

    def sign(self, *names: str) -> None:
        """Say in answers about these names and all below them that they were validated (AD)."""
        self._signed.update(_key(name) for name in names)

    def sign_alone(self, name: str) -> None:
        """As `sign`, of that very name only."""
        self._signed_alone.add(_key(name))

    def unsign(self, name: str) -> None:
        self._signed.discard(_key(name))

    def heal(self, name: str) -> None:
        self._broken.pop(_key(name), None)

    def asked(self, name: str, type_: str) -> int:
        """How often that was asked."""
        return self.queries[(_key(name), type_.upper())]

    def close(self) -> None:
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bind(self) -> tuple[_Udp, _Tcp]:
        """One port that is free for both protocols."""
        for _ in range(50):
            udp = _Udp(("127.0.0.1", 0), _UdpHandler)
            try:
                tcp = _Tcp(udp.server_address, _TcpHandler)
            except OSError:
                udp.server_close()
                continue
            udp.owner = tcp.owner = self
            return udp, tcp
        raise OSError("no port is free for both UDP and TCP")

    def reply(self, query: bytes, *, udp: bool) -> bytes | None:
        """The wire form of the answer; None when the name is silenced."""
        request = dnslib.DNSRecord.parse(query)
        name, type_ = _key(str(request.q.qname)), dnslib.QTYPE[request.q.qtype]
        answer = request.reply(ra=1, aa=1)
        answer.header.ad = 0  # the reply takes over the question's flags
        with self._lock:
            self.queries[(name, type_)] += 1
            if self._broken.get(name) == "silence":
                return None
            if self._broken.get(name) == "servfail":
                answer.header.rcode = dnslib.RCODE.SERVFAIL
                return bytes(answer.pack())
            self._fill(answer, name, type_)
        signed = all(map(self._is_signed, [name, *(_key(str(rr.rname)) for rr in answer.rr)]))
        answer.header.ad = int(bool(request.header.ad) and signed)
        size = next((rr.edns_len for rr in request.ar if rr.rtype == dnslib.QTYPE.OPT), 512)
        packed = bytes(answer.pack())
        if not udp or len(packed) <= size:
            return packed
        answer.rr.clear()  # the client asks again over TCP
        answer.header.tc = 1
        return bytes(answer.pack())

    def _is_signed(self, name: str) -> bool:
        return name in self._signed_alone or any(name == zone or name.endswith(f".{zone}") for zone in self._signed)

    def _fill(self, answer: dnslib.DNSRecord, name: str, type_: str) -> None:
        for _ in range(8):
            types = self._records.get(name)
            if types is None:
                below = any(known.endswith(f".{name}") for known in self._records)
                answer.header.rcode = dnslib.RCODE.NOERROR if below else dnslib.RCODE.NXDOMAIN
                return
            for value in types.get(type_, ()):
                answer.add_answer(self._record(name, type_, value))
            if type_ in types or "CNAME" not in types:
                return
            target = types["CNAME"][0]
            answer.add_answer(self._record(name, "CNAME", target))
            name = _key(target)

    def _record(self, name: str, type_: str, value: str) -> dnslib.RR:
        if type_ == "TXT":
            raw = value.encode()
            data: Any = dnslib.TXT([raw[at : at + 255] for at in range(0, len(raw), 255)] or [b""])
        elif type_ == "MX":
            preference, _, host = value.partition(" ")
            data = dnslib.MX(host, int(preference))
        elif type_ == "TLSA":
            usage, selector, matching, data_hex = value.split()
            data = dnslib.TLSA(int(usage), int(selector), int(matching), bytes.fromhex(data_hex))
        else:
            data = dnslib.RDMAP[type_](value)
        return dnslib.RR(name, getattr(dnslib.QTYPE, type_), rdata=data, ttl=self.ttl)


def _key(name: str) -> str:
    return name.rstrip(".").lower()


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True
    block_on_close = False
    owner: DnsServer


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    owner: DnsServer


class _UdpHandler(socketserver.BaseRequestHandler):
    server: _Udp

    def handle(self) -> None:
        query, sock = self.request
        answer = self.server.owner.reply(query, udp=True)
        if answer is not None:
            sock.sendto(answer, self.client_address)


class _TcpHandler(socketserver.StreamRequestHandler):
    server: _Tcp

    def handle(self) -> None:
        while head := self.rfile.read(2):
            answer = self.server.owner.reply(self.rfile.read(int.from_bytes(head)), udp=False)
            if answer is None:
                self.rfile.read(1)  # until the client gives up
                return
            self.wfile.write(len(answer).to_bytes(2) + answer)
