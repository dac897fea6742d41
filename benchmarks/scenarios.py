"""The measurements, each of a path through a whole installation beside its peers in the same run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import load, peer, postfix, sinks, world
from benchmarks.figures import Measured, ratio, say
from tests.installation import ROOT, Installation

_WARM = 100


def _http(installation: Installation, key: str, count: int, connections: int, first: int = 0) -> Measured:
    requests = [world.request(key, first + n) for n in range(count)]
    return load.http("127.0.0.1", installation.http, requests=count, connections=connections, make=requests.__getitem__)


def _smtp(port: int, count: int, connections: int, login: tuple[str, str] | None = None, first: int = 0) -> Measured:
    contents = [world.mime(first + n) for n in range(count)]
    return load.smtp(
        "127.0.0.1", port, messages=count, connections=connections, mail_from=f"hello@{world.DOMAIN}",
        make=contents.__getitem__, login=login,
    )  # fmt: skip


def _until(sink: sinks.Sink, wanted: int, act: Callable[[], Measured]) -> tuple[Measured, float]:
    """What `act` measured, and messages a second from its start until `wanted` of them are at the sink."""
    before, started = sink.count, time.perf_counter()
    measured = act()
    sink.wait(before + wanted - len(measured.failures))
    return measured, (wanted - len(measured.failures)) / (time.perf_counter() - started)


def sending(folder: Path, messages: int, connections: list[int], **settings: str) -> None:
    """Accept, sign and deliver until the last message is at the sink; memory beside it."""
    why = postfix.missing(signing=True)
    with sinks.smtp() as sink:
        delivery = f"smtp://127.0.0.1:{sink.port}"
        with Installation(folder / "ours", DELIVERY=delivery, LOG_LEVEL="warning", **settings) as installation:
            owner = world.prepare(installation)
            assert installation.process is not None
            idle = world.memory(installation.process.pid)
            _until(sink, _WARM, lambda: _http(installation, owner.key, _WARM, 4))
            for n in connections:
                with world.Peak(installation.process.pid) as peak:
                    accepted, rate = _until(sink, messages, lambda n=n: _http(installation, owner.key, messages, n))  # type: ignore[misc]
                say(f"accept while delivering, {n} connections", accepted.line())
                say("  until the last is at the sink", f"{rate:7.0f}/s   memory {idle:.0f} MB idle, {peak.mb:.0f} MB")
                if why:
                    continue
                with postfix.Postfix(folder / f"postfix{n}", sink=sink.port, signing=True) as other:
                    _until(sink, _WARM, lambda other=other: _smtp(other.port, _WARM, 4))  # type: ignore[misc]
                    theirs, their_rate = _until(sink, messages, lambda n=n: _smtp(other.port, messages, n))  # type: ignore[misc]
                say("  Postfix + opendkim: accept", theirs.line())
                say("  Postfix + opendkim: at the sink", f"{their_rate:7.0f}/s")
                ratio("  ratio, accept + sign + deliver", rate, their_rate, 2.0)
    if why:
        say("no Postfix + opendkim", why)


def accepting(folder: Path, messages: int, connections: list[int], **settings: str) -> None:
    """Accept durably while nothing delivers, then drain what was accepted."""
    why = postfix.missing(signing=False)
    with sinks.smtp() as sink:
        installation = Installation(
            folder / "ours", DELIVERY=f"smtp://127.0.0.1:{sink.port}", LOG_LEVEL="warning", **settings
        )
        installation.data.mkdir(parents=True)
        installation.cli("migrate")
        owner = world.prepare(installation)
        filled = 0
        with world.part(installation, "web", port=installation.http):
            _http(installation, owner.key, _WARM, 4)
            for n in connections:
                ours = _http(installation, owner.key, messages, n)
                filled += messages
                bare = peer.measure(
                    folder / f"bare{n}", requests=messages, connections=n, body=world.request(owner.key, 0)
                )
                say(f"accept alone, {n} connections", ours.line())
                say("  bare synced insert", bare.line())
                if not why:
                    with postfix.Postfix(folder / f"postfix{n}", sink=sink.port, held=True) as other:
                        _smtp(other.port, _WARM, 4)
                        theirs = _smtp(other.port, messages, n)
                    say("  Postfix", theirs.line())
                    ratio("  ratio, accept", ours.rate, theirs.rate, 1.0)
        with world.part(installation, "worker", "--queue", "deliver"):
            rate = _drained(sink, filled + _WARM)
        say("draining a full queue, signed", f"{rate:7.0f}/s")
        if not why:
            with postfix.Postfix(folder / "full", sink=sink.port, held=True) as other:
                _smtp(other.port, messages, 10)
                before = sink.count
                other.release()
                their_rate = _drained(sink, messages, before)
            say("  Postfix, not signed", f"{their_rate:7.0f}/s")
            ratio("  ratio, drain", rate, their_rate, 1.0)
    if why:
        say("no Postfix", why)


def _drained(sink: sinks.Sink, wanted: int, before: int = 0) -> float:
    """Messages a second from the first to the last of `wanted`."""
    sink.wait(before + 1)
    first, started = sink.count, time.perf_counter()
    sink.wait(before + wanted)
    return (before + wanted - first) / (time.perf_counter() - started)


def submitting(folder: Path, messages: int, connections: list[int], **settings: str) -> None:
    """SMTP submission with AUTH, durable, while nothing delivers."""
    why = postfix.missing(signing=False)
    installation = Installation(folder / "ours", LOG_LEVEL="warning", **settings)
    installation.data.mkdir(parents=True)
    installation.cli("migrate")
    owner = world.prepare(installation)
    login = (owner.username, owner.password)
    with sinks.smtp() as sink, world.part(installation, "smtp", port=installation.smtp):
        _smtp(installation.smtp, _WARM, 4, login)
        for n in connections:
            ours = _smtp(installation.smtp, messages, n, login)
            say(f"SMTP submission, {n} connections", ours.line())
            if not why:
                with postfix.Postfix(folder / f"postfix{n}", sink=sink.port, held=True) as other:
                    _smtp(other.port, _WARM, 4)
                    theirs = _smtp(other.port, messages, n)
                say("  Postfix, without a login", theirs.line())
                ratio("  ratio, submission", ours.rate, theirs.rate, 1.0)
    if why:
        say("no Postfix", why)


def webhooks(folder: Path, messages: int, **settings: str) -> None:
    """Tell a fast endpoint from one process."""
    installation = Installation(folder / "ours", LOG_LEVEL="warning", **settings)
    installation.data.mkdir(parents=True)
    installation.cli("migrate")
    world.prepare(installation)
    with sinks.http() as sink:
        world.add_webhook(installation, f"http://127.0.0.1:{sink.port}/hook")
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.telling", str(messages)],
            cwd=ROOT, env=installation.environment | {"PYTHONPATH": os.fspath(ROOT)},
        )  # fmt: skip
        rate = _drained(sink, messages)
        process.wait(60)
    say("webhooks to a fast endpoint, one process", f"{rate:7.0f}/s     goal 2000/s")
