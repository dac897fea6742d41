"""`python -m benchmarks.events`: reading at ten million events against reading at ten thousand.

Fills a store with rows as the gateway writes them (51 domains, one with 60 %), indexes the search terms
with the gateway's own indexer, and prints p50 and p95 of what customers read, and the ratio of the p95s.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import statistics as figures
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from gateway import clock, config, ids
from gateway.services import event_buckets, event_marks, events, identity, ledger, schema, search_index, statistics
from gateway.services.identity import Caller
from models import database as db
from models.account import Account, Plan
from models.domain import SenderDomain
from models.vocabulary import EventKind, FacetKind
from tests.conftest import mysql_admin, mysql_url

DOMAINS = 51
SHARE = 0.6
"""Of the first domain."""
SPAN_DAYS = 28
_WORDS = 2000
_RECIPIENT_DOMAINS = 300
_BATCH = 5000
_random = random.Random(7)


def _rows(count: int, domain_ids: Sequence[int]) -> Iterator[tuple[list[Any], list[Any]]]:
    """Batches of messages and their events: accepted, delivered (or bounced), some opened."""
    begin = clock.now_ms() - SPAN_DAYS * clock.DAY_MS
    messages: list[Any] = []
    found: list[Any] = []
    made = 0
    for message_id in itertools.count(1):
        if made >= count:
            break
        domain = domain_ids[0] if _random.random() < SHARE else _random.choice(domain_ids[1:])
        at = begin + int(made / count * SPAN_DAYS * clock.DAY_MS)
        # Few words are in many subjects, many in few.
        subject = " ".join(f"word{int(_WORDS * _random.random() ** 3)}" for _ in range(4))
        tag = f"tag{int(20 * _random.random() ** 2)}"
        host = f"friends{int(_RECIPIENT_DOMAINS * _random.random() ** 3)}.test"
        rcpt = f"user{message_id}@{host}"
        headers = orjson.dumps({"from": ["The Shop", f"hello@d{domain}.test"], "to": [["", rcpt]]}).decode()
        messages.append(
            (message_id, ids.new_uuid().bytes, 1, domain, 1, 1, message_id, f"hello@d{domain}.test", subject,
             f'["{tag}"]', headers, 5000, 1, 1, at, "[]")
        )  # fmt: skip
        kinds = [EventKind.ACCEPTED, EventKind.BOUNCED if _random.random() < 0.04 else EventKind.DELIVERED]
        kinds += [EventKind.OPENED] if _random.random() < 0.8 else []
        kinds += [EventKind.CLICKED] if _random.random() < 0.2 else []
        for kind in kinds:
            mx = 1 + len(host) * message_id % 100 if kind in (EventKind.DELIVERED, EventKind.BOUNCED) else None
            reply = 1 + message_id % 40 if kind is EventKind.BOUNCED else None
            ip = f"192.0.2.{message_id % 250}" if kind is EventKind.OPENED else ""
            delivery = None if kind is EventKind.ACCEPTED else message_id
            found.append((1, domain, int(kind), at, message_id, delivery, rcpt, mx, reply, ip, tag, host))
        made += len(kinds)
        if len(messages) >= _BATCH:
            yield messages, found
            messages, found = [], []
    yield messages, found


def fill(count: int, domain_ids: Sequence[int]) -> None:
    """Write `count` events with their messages and roll-ups."""
    counts: Counter[tuple[int, ...]] = Counter()
    facets: Counter[tuple[Any, ...]] = Counter()

    def words(tx: db.Transaction) -> None:
        tx.executemany("INSERT INTO mx (id, name) VALUES (?, ?)", [(n, f"mx{n}.friends.test") for n in range(1, 101)])
        tx.executemany(
            "INSERT INTO reply (id, digest, text) VALUES (?, ?, ?)",
            [(n, f"{n:032x}", f"550 5.1.1 user unknown reason{n}") for n in range(1, 41)],
        )

    db.in_transaction(words)
    for messages, found in _rows(count, domain_ids):

        def write(tx: db.Transaction, messages: list[Any] = messages, found: list[Any] = found) -> None:
            tx.executemany(
                "INSERT INTO message (id, uuid, account_id, domain_id, stream, live, content_id, from_addr, subject,"
                " tags, headers, size, track_opens, track_links, created_ms, verdicts)"
                f" VALUES ({','.join('?' * 16)})",
                messages,
            )
            tx.executemany(
                "INSERT INTO event (account_id, domain_id, kind, at_ms, message_id, delivery_id, rcpt, mx_id,"
                f" reply_id, ip) VALUES ({','.join('?' * 10)})",
                [row[:10] for row in found],
            )

        db.in_transaction(write)
        for row in found:
            _, domain, kind, at, *_, tag, host = row
            day = clock.day_number(at)
            for name in ("", tag):
                counts[(domain, day, kind, name)] += 1
            if kind != EventKind.ACCEPTED:
                facets[(domain, int(FacetKind.RECIPIENT_DOMAIN), day, host, kind)] += 1
                if row[7]:
                    facets[(domain, int(FacetKind.MX), day, f"mx{row[7]}.friends.test", kind)] += 1
                if row[8]:
                    facets[(domain, int(FacetKind.RESPONSE), day, str(row[8]), kind)] += 1

    def roll_ups(tx: db.Transaction) -> None:
        tx.executemany(
            "INSERT INTO counter (domain_id, day, kind, tag, n) VALUES (?,?,?,?,?)",
            [(*key, n) for key, n in sorted(counts.items())],
        )
        tx.executemany(
            "INSERT INTO facet (domain_id, facet, day, value, kind, n) VALUES (?,?,?,?,?,?)",
            [(*key, n) for key, n in sorted(facets.items())],
        )

    db.in_transaction(roll_ups)


def reads(caller: Caller, domain_ids: Sequence[int], total: int) -> dict[str, Callable[[int], Any]]:
    """What customers read, by name; each takes the number of the repetition."""
    first, small = domain_ids[0], domain_ids[1:]

    def page(**wanted: Any) -> Any:
        return events.search(caller=caller, **({"domain_id": first, "count": 50} | wanted))

    days = statistics.period(None, None)
    last_week = clock.now_ms() - 7 * clock.DAY_MS

    def aggregated(field: str) -> Callable[[int], Any]:
        return lambda n: event_buckets.buckets(caller=caller, domain_id=first, field=field, days=days)

    return {
        "GetEvents, first page": lambda n: page(start=0),
        "GetEvents, first page of a small domain": lambda n: page(domain_id=small[n % len(small)]),
        "GetEvents, StartFrom 9,950": lambda n: page(start=min(9950, total // 4)),
        "GetEvents, one kind": lambda n: page(event="bounce"),
        "GetEvents, one kind, StartFrom 5,000": lambda n: page(event="open", start=min(5000, total // 20)),
        "GetEvents, since a week ago": lambda n: page(from_ms=last_week + n),
        "Query, one rare word": lambda n: page(query=f"subject:word{1500 + n}"),
        "Query, one frequent word": lambda n: page(query=f"subject:word{n % 5}"),
        "Query, two words": lambda n: page(query=f"subject:word{n % 50} subject:word{n % 7}"),
        "Query, word in any field and tag": lambda n: page(query=f"word{n % 300} tag:tag{n % 20}"),
        "Query, to": lambda n: page(query=f"to:user{1 + n * (total // 900)}@friends0.test"),
        "Query, response of a bounce": lambda n: page(query=f"response:reason{1 + n % 40}", event="bounce"),
        "Query, NOT": lambda n: page(query=f"subject:word{n % 300} NOT tag:tag{n % 20}"),
        "DomainStats": lambda n: statistics.of_domain(caller=caller, domain_id=first, days=days),
        "AggrEvents, eventType": aggregated("eventType"),
        "AggrEvents, tag": aggregated("tag"),
        "AggrEvents, recipientDomain": aggregated("recipientDomain"),
        "AggrEvents, mx": aggregated("mx"),
        "AggrEvents, response": aggregated("response"),
        "AggrEvents, subject (walk)": aggregated("subject"),
        "RecipientDomainStats": lambda n: statistics.recipient_domains(caller=caller, domain_id=first, days=days),
        "AccountStats": lambda n: statistics.of_account(caller=caller, days=days),
    }


def prepare(count: int, domain_ids: Sequence[int]) -> None:
    """Fill and index the connected store, and print what that took."""
    plan = Plan.get(Plan.name == "Unlimited")
    Account.insert(
        id=1, uuid=ids.new_uuid(), email="bench@people.test", slug="bench", plan_id=plan.id, created_ms=clock.now_ms()
    ).execute()
    for n in range(1, DOMAINS + 1):
        SenderDomain.insert(
            id=n, uuid=ids.new_uuid(), account_id=1, name=f"d{n}.test", status="enabled", subdomain="m",
            ownership_token="t", signing_key="k", created_ms=clock.now_ms(),
        ).execute()  # fmt: skip
    started = time.perf_counter()
    fill(count, domain_ids)
    filled = time.perf_counter()
    search_index._GAP = 0.0  # nobody else writes
    if db.dialect() == "mysql":
        event_marks._HORIZON_MS = 0
        search_index.run(1)
        time.sleep(0.01)
        db.database.execute_sql("ANALYZE TABLE event, message, search_term, counter, facet")
    while search_index.run(3600):
        pass
    indexed = time.perf_counter()
    terms = db.rows("SELECT COUNT(*) FROM search_term")[0][0]
    print(
        f"  {count:,} events filled in {filled - started:.0f} s, indexed in {indexed - filled:.0f} s ({terms:,} terms)"
    )


def measure(count: int, repeat: int) -> dict[str, tuple[float, float, int]]:
    """Fill the connected store and read; p50 and p95 in milliseconds and how many answers were partial, by name."""
    ledger.forget_words()
    domain_ids = list(range(1, DOMAINS + 1))
    if not Account.get_or_none(Account.id == 1):
        prepare(count, domain_ids)
    caller = identity.for_account(1)
    found = {}
    for name, read in reads(caller, domain_ids, count).items():
        took, partial = [], 0
        for n in range(-3, repeat):
            begun = time.perf_counter()
            answer = read(max(n, 0))
            if n >= 0:
                took.append((time.perf_counter() - begun) * 1000)
                partial += bool(getattr(answer, "partial", isinstance(answer, tuple) and answer[-1] is True))
        took.sort()
        found[name] = (figures.median(took), took[min(len(took) - 1, int(0.95 * len(took)))], partial)
    return found


def compare(label: str, connect: Callable[[int], None], counts: Sequence[int], repeat: int) -> None:
    print(label)
    measured = []
    for count in counts:
        connect(count)
        try:
            measured.append(measure(count, repeat))
        finally:
            db.close()
    print(f"  {'':42}" + "".join(f"{count:>14,} events" for count in counts) + "     p95 ratio")
    for name in measured[0]:
        cells = "".join(f"{one[name][0]:9.2f} / {one[name][1]:8.2f}" for one in measured)
        ratio = measured[-1][name][1] / max(measured[0][name][1], 0.001)
        partial = measured[-1][name][2]
        print(f"  {name:42}{cells}   {ratio:8.1f}" + (f"   {partial} of {repeat} partial" if partial else ""))


def run(
    count: int, *, small: int = 10_000, mariadb: bool = False, sqlite: bool = True, repeat: int = 40, keep: str = ""
) -> None:
    """Print the tables: SQLite, and MariaDB where asked for. Stores of `keep` are filled once, then read again."""
    folder = Path(keep or tempfile.mkdtemp(prefix="commandpost-bench-", dir=Path.cwd())).resolve()
    config.use(config.load({config.PREFIX + "DATA": str(folder), config.PREFIX + "SECRET": "bench"}))
    names: list[str] = []

    def file(events_: int) -> None:
        data = folder / str(events_)
        db.connect("sqlite:", data)
        schema.migrate(data)

    def server(events_: int) -> None:
        name = f"commandpost_test_events_{'kept' if keep else f'{os.getpid():x}'}_{events_}"
        mysql_admin(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        names.append(name)
        db.connect(mysql_url(name), folder)
        schema.migrate(folder)

    try:
        if sqlite:
            compare("Reading on SQLite, p50 / p95 in ms", file, (small, count), repeat)
        if mariadb:
            compare("Reading on MariaDB, p50 / p95 in ms", server, (small, count), repeat)
    finally:
        if not keep:
            for name in names:
                mysql_admin(f"DROP DATABASE `{name}`")
            shutil.rmtree(folder, ignore_errors=True)
        config.use(None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--mariadb", action="store_true", help="also on the server of COMMANDPOST_TEST_DATABASE_URL")
    parser.add_argument("--no-sqlite", action="store_true", help="leave the file database out")
    parser.add_argument("--keep", default="", metavar="DIR", help="keep the filled stores, and read what is there")
    options = parser.parse_args()
    run(
        options.events,
        mariadb=options.mariadb,
        sqlite=not options.no_sqlite,
        repeat=options.repeat,
        keep=options.keep,
    )


if __name__ == "__main__":
    main()
