"""`python -m benchmarks`: start a whole installation, accept and deliver under load, print rates and latencies.

Every figure stands beside a peer measured in the same run, because the speed of a machine drifts from
hour to hour: a bare server of the same kind that stores one synced row a request and does nothing else.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks import load, peer
from tests.conftest import mysql_admin, mysql_url
from tests.installation import Installation
from tests.peers.smtp_sink import SmtpSink

HTML = "<html><body>" + "<p>Thank you for your order, it is on its way to you.</p>\n" * 75 + "</body></html>"


def _serve_sink(port: multiprocessing.Queue[int], count: object, closing: Event) -> None:
    with SmtpSink(keep=False) as sink:
        port.put(sink.port)
        while not closing.wait(0.02):
            count.value = sink.count  # type: ignore[attr-defined]


@contextmanager
def _sink() -> Iterator[tuple[str, object]]:
    """An SMTP sink in a process of its own: its URL and the number of messages it took."""
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    count, closing = multiprocessing.Value("l", 0), multiprocessing.Event()
    process = multiprocessing.Process(target=_serve_sink, args=(port, count, closing), daemon=True)
    process.start()
    try:
        yield f"smtp://127.0.0.1:{port.get(timeout=20)}", count
    finally:
        closing.set()
        process.join(10)


def _request(path: str, key: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _message(n: int) -> bytes:
    return json.dumps(
        {
            "Subject": f"Order {n}",
            "ContentType": "html",
            "HtmlContent": HTML.replace("order", f"order {n}", 1),
            "From": {"email": "hello@shop.test", "name": "The Shop"},
            "To": [{"email": f"r{n}@friends.test", "name": "Jane Doe"}],
        }
    ).encode()


def _prepare(installation: Installation) -> str:
    installation.cli("user", "add", "--email", "bench@shop.test", "--password", "benchmark password")
    installation.cli("plan", "set", "--user", "bench@shop.test", "--unlimited")
    installation.cli("domain", "add", "shop.test", "--user", "bench@shop.test", "--trusted")
    return str(installation.cli("key", "add", "--user", "bench@shop.test", "--domain", "shop.test")["key"])


def _accept_and_deliver(folder: Path, *, messages: int, connections: int, **settings: str) -> None:
    with _sink() as (url, count), Installation(folder, DELIVERY=url, LOG_LEVEL="warning", **settings) as installation:
        key = _prepare(installation)
        requests = [_request("/api/v1/email", key, _message(n)) for n in range(messages)]
        warm = [_request("/api/v1/email", key, _message(n)) for n in range(50)]
        load.http("127.0.0.1", installation.http, requests=50, connections=4, make=warm.__getitem__)
        _wait(count, 50)
        started = time.perf_counter()
        accepted = load.http(
            "127.0.0.1", installation.http, requests=messages, connections=connections, make=requests.__getitem__
        )
        _wait(count, 50 + messages - len(accepted.failures))
        seconds = time.perf_counter() - started
        bare = peer.measure(folder / "peer", requests=messages, connections=connections, body=requests[0])
        rate = len(accepted.latencies) / seconds
        print(f"  accept              {accepted.line()}")
        print(f"  bare synced insert  {bare.line()}")
        print(f"  ratio of the rates  {accepted.rate / bare.rate:8.2f}")
        print(f"  accept + sign + deliver, until the last one is at the sink: {rate:.0f}/s")


def _wait(count: object, wanted: int) -> None:
    end = time.monotonic() + 300
    while count.value < wanted:  # type: ignore[attr-defined]
        if time.monotonic() > end:
            raise TimeoutError(f"{count.value} of {wanted} messages arrived")  # type: ignore[attr-defined]
        time.sleep(0.005)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--connections", type=int, action="append", help="default: 10 and 50")
    parser.add_argument("--mariadb", action="store_true", help="also on the server of COMMANDPOST_TEST_DATABASE_URL")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="commandpost-bench-", dir=Path.cwd()))
    name = f"commandpost_test_bench_{os.getpid():x}"
    try:
        for connections in options.connections or [10, 50]:
            print(
                f"SQLite, embedded broker, {options.messages} messages of {len(HTML)} bytes, {connections} connections"
            )
            _accept_and_deliver(folder / f"sqlite{connections}", messages=options.messages, connections=connections)
            if options.mariadb:
                mysql_admin(f"CREATE DATABASE `{name}{connections}`")
                try:
                    print(f"MariaDB, embedded broker, {connections} connections")
                    _accept_and_deliver(
                        folder / f"mariadb{connections}",
                        messages=options.messages,
                        connections=connections,
                        DATABASE_URL=mysql_url(f"{name}{connections}"),
                    )
                finally:
                    mysql_admin(f"DROP DATABASE `{name}{connections}`")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
