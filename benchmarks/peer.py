"""The peer of the accept benchmark: gunicorn and Flask that commit one synced row a request, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import flask

from benchmarks import load
from benchmarks.figures import Measured

_local = threading.local()


def create_app() -> flask.Flask:
    app = flask.Flask("peer")
    path = os.environ["PEER_DATABASE"]

    @app.post("/api/v1/email")
    def accept() -> flask.Response:
        connection = getattr(_local, "connection", None)
        if connection is None:
            connection = _local.connection = sqlite3.connect(path, timeout=30, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("CREATE TABLE IF NOT EXISTS mail (id INTEGER PRIMARY KEY, body BLOB)")
        connection.execute("INSERT INTO mail (body) VALUES (?)", (flask.request.get_data(),))
        return flask.jsonify(MessageID="peer")

    return app


def measure(folder: Path, *, requests: int, connections: int, body: bytes) -> Measured:
    """Run the peer with as many workers and threads as the gateway has, and load it the same way."""
    folder.mkdir(parents=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-w", "2", "-k", "gthread", "--threads", "8",
            "--log-level", "error", "benchmarks.peer:create_app()",
        ],
        env=os.environ | {"PEER_DATABASE": str(folder / "peer.db")},
    )  # fmt: skip
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        load.http("127.0.0.1", port, requests=50, connections=4, make=lambda _: body)
        return load.http("127.0.0.1", port, requests=requests, connections=connections, make=lambda _: body)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
