"""Bulk accepting: a thousand messages a request, of the service alone in one process and over HTTP.

The peer takes one message for a thousand recipients in an SMTP transaction, and keeps it in its queue.
"""

from __future__ import annotations

import gc
import json
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import load, postfix, sinks, world
from benchmarks.figures import Measured, ratio, say
from gateway import config
from gateway.mail.draft import Draft, Mailbox
from gateway.services import bulk, domains, identity, schema, users
from gateway.services.bulk import Item
from models import database as db
from tests.conftest import use_settings
from tests.installation import Installation

SIZE = 1000
_EMAIL, _DOMAIN = "service@people.test", "service.test"


def _draft(n: int, html: str) -> Draft:
    to = [Mailbox(f"r{n}@friends.test", "Jane Doe")]
    return Draft(Mailbox(f"hello@{_DOMAIN}", "The Shop"), subject=f"Order {n}", html=html, to=to, tags=["order"])


def service(folder: Path, requests: int, **settings: str) -> None:
    """One process, one connection: what a core does, without reading and answering."""
    folder.mkdir(parents=True, exist_ok=True)
    used = use_settings(folder, **settings)
    try:
        db.connect(used.database_url, folder)
        schema.migrate(folder)
        users.add(email=_EMAIL, password="benchmark password")
        users.set_plan(email=_EMAIL, unlimited=True)
        caller = identity.for_account(users.find(_EMAIL).id)
        domains.add(caller=caller, name=_DOMAIN, trusted=True)
        for label, own in (("one body for all", False), ("a body for each", True)):
            rate, cpu = _measured(caller, requests, own=own)
            say(f"service alone, {label}", f"{rate:7.0f}/s   {cpu:7.0f} a second of processor time")
    finally:
        db.close()
        config.use(None)


def _measured(caller: identity.Caller, requests: int, *, own: bool) -> tuple[float, float]:
    seconds = processor = 0.0
    sender = domains.find_by_name(caller=caller, name=_DOMAIN)
    acting = replace(caller, domain_id=sender.id)
    gc.collect()
    gc.freeze()  # as the processes of an installation do
    for number in range(requests + 1):
        first = number * SIZE
        htmls = [
            world.HTML.replace("order", f"order {n}", 1) if own else world.HTML for n in range(first, first + SIZE)
        ]
        items = [Item(acting, _draft(first + n, html)) for n, html in enumerate(htmls)]
        started, began = time.perf_counter(), time.process_time()
        results = bulk.accept(caller=caller, items=items)
        if number:  # the first one warms up
            seconds += time.perf_counter() - started
            processor += time.process_time() - began
        assert all(isinstance(result, bulk.Accepted) for result in results)
    gc.unfreeze()
    return requests * SIZE / seconds, requests * SIZE / processor


def http(folder: Path, requests: int, connections: list[int], **settings: str) -> None:
    """Whole requests from the socket to the answer after the commit, while nothing delivers."""
    installation = Installation(folder, LOG_LEVEL="warning", **settings)
    installation.data.mkdir(parents=True)
    installation.cli("migrate")
    world.prepare(installation)
    made = installation.cli("key", "add", "--user", world.EMAIL, "--surface", "mailersio")
    why = postfix.missing(signing=False)
    with sinks.smtp() as sink, world.part(installation, "web", port=installation.http) as pid:
        _http(installation, made["key"], 2, 2, own=False, first=10_000_000)
        for label, own in (("one body for all", False), ("a body for each", True)):
            for n in connections:
                before = world.processor(pid)
                found = _http(installation, made["key"], requests, n, own=own, first=n * 1_000_000)
                cpu = len(found.latencies) * SIZE / (world.processor(pid) - before)
                text = f"{found.rate * SIZE:7.0f}/s   {cpu:7.0f} a second of processor time   {found.line()}"
                say(f"over HTTP, {label}, {n} connections", text)
                if not why and not own:
                    with postfix.Postfix(folder / f"postfix{n}", sink=sink.port, held=True) as other:
                        _smtp(other.port, 2, 2, first=10_000_000)
                        theirs = _smtp(other.port, requests, n, first=0)
                    say("  Postfix, a thousand recipients a transaction", f"{theirs.rate * SIZE:7.0f}/s")
                    ratio("  ratio, bulk", found.rate, theirs.rate, 5.0)
    if why:
        say("no Postfix", why)


def _http(installation: Installation, key: str, requests: int, connections: int, *, own: bool, first: int) -> Measured:
    made = [_request(key, first + number * SIZE, own) for number in range(requests)]
    return load.http("127.0.0.1", installation.http, requests=requests, connections=connections, make=made.__getitem__)


def _smtp(port: int, transactions: int, connections: int, *, first: int) -> Measured:
    made = [world.mime(first + number, SIZE) for number in range(transactions)]
    return load.smtp(
        "127.0.0.1", port, messages=transactions, connections=connections, mail_from=f"hello@{world.DOMAIN}",
        make=made.__getitem__,
    )  # fmt: skip


def _request(key: str, first: int, own: bool) -> bytes:
    messages = [
        {"to": f"Jane Doe <r{n}@friends.test>", "subject": f"Order {n}"}
        | ({"html": world.HTML.replace("order", f"order {n}", 1)} if own else {})
        for n in range(first, first + SIZE)
    ]
    defaults = {"from": f"The Shop <hello@{world.DOMAIN}>", "html": world.HTML, "tags": ["order"]}
    body = json.dumps({"messages": messages, "defaults": defaults}).encode()
    head = (
        f"POST /v1/send/bulk HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
