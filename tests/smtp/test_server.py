"""The part as a process: it serves from its settings, beats, and stops on SIGTERM."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import models
from gateway import config
from smtp.server import Server
from tests.conftest import ROOT, use_settings
from tests.smtp.conftest import Customer


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_it_serves_beats_and_stops(store: str, customer: Customer, tmp_path: Path) -> None:
    smtp, mx = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMMANDPOST_")} | {
        "COMMANDPOST_DATA": str(tmp_path),
        "COMMANDPOST_DATABASE_URL": store,
        "COMMANDPOST_SECRET": "a-secret-for-tests",
        "COMMANDPOST_HOSTNAME": "mx.gateway.test",
        "COMMANDPOST_SMTP": f"127.0.0.1:{smtp}",
        "COMMANDPOST_MX": f"127.0.0.1:{mx}",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from smtp.server import main; sys.exit(main())"],
        cwd=ROOT,
        env=environment,
    )
    try:
        client = connect(smtp, process)
        client.login(customer.login.username, customer.password)
        client.sendmail(
            "a@b.test", ["jane@friends.test"], "From: hello@shop.test\r\nTo: jane@friends.test\r\n\r\nHi\r\n"
        )
        with connect(mx, process) as other:
            other.ehlo()
            other.mail("")
            assert other.rcpt("jane@shop.test")[0] == 550
        beats = {beat.part: beat.pid for beat in models.Heartbeat.select()}
        assert beats == {"smtp": process.pid}
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
    assert models.Message.select().count() == 1


def connect(port: int, process: subprocess.Popen[bytes]) -> smtplib.SMTP:
    deadline = time.monotonic() + 20
    while True:
        try:
            return smtplib.SMTP("127.0.0.1", port, timeout=10)
        except ConnectionRefusedError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)


def test_implicit_tls_needs_a_certificate(tmp_path: Path) -> None:
    try:
        settings = use_settings(tmp_path, SMTPS="127.0.0.1:0")
        with pytest.raises(config.ConfigError, match="COMMANDPOST_SMTPS"):
            Server(settings)
    finally:
        config.use(None)


def test_a_certificate_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("not a certificate")
    try:
        settings = use_settings(tmp_path, TLS_CERT=str(tmp_path / "cert.pem"), TLS_KEY=str(tmp_path / "key.pem"))
        with pytest.raises(config.ConfigError, match="COMMANDPOST_TLS_CERT"):
            Server(settings)
    finally:
        config.use(None)
