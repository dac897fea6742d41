"""A campaign to a long list: how fast its deliveries are made, and with how much memory."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click

import models
from gateway import clock, config, ids
from gateway.mail import dkim
from gateway.services import campaign_launches, campaigns, domains, expansions, identity, list_counts, lists, schema
from models import database as db
from models.vocabulary import SubscriberStatus

_CHUNK = 10_000


def _connect(url: str, data: Path) -> None:
    names = {"DATA": str(data), "HOSTNAME": "mx.gateway.test", "SECRET": "a-secret-for-the-benchmark"}
    config.use(config.load({config.PREFIX + name: value for name, value in names.items()}))
    db.connect(url, data)
    schema.migrate(data)


def _sender() -> identity.Caller:
    row = models.Account.create(
        uuid=ids.new_uuid(),
        email=f"{ids.token(8)}@people.test",
        slug=ids.token(8),
        plan_id=models.Plan.get(models.Plan.name == "Unlimited").id,
        created_ms=clock.now_ms(),
    )
    caller = identity.for_account(row.id)
    key = dkim.generate("ed25519").private
    domain = domains.add(caller=caller, name=f"{ids.token(8)}.test", trusted=True, dkim=(("ed25519", key),))
    return replace(caller, domain_id=domain.id, surface="octeth")


def _fill(caller: identity.Caller, size: int) -> int:
    """A list of `size` active subscribers with fields to merge; its id."""
    news = lists.add(caller=caller, name="News")
    now = clock.now_ms()
    columns = "list_id, account_id, email, address, fields, status, status_ms, created_ms, updated_ms"
    for start in range(0, size, _CHUNK):
        rows = [
            (news.id, caller.account_id, address, address, f'{{"firstName":"Reader {n}"}}', 1, now, now, now)
            for n in range(start, min(size, start + _CHUNK))
            for address in (f"reader{n}@friends{n % 500}.test",)
        ]

        def work(tx: db.Transaction, rows: list[tuple[object, ...]] = rows) -> None:
            tx.executemany(f"INSERT INTO subscriber ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            list_counts.change(tx, news.id, {int(SubscriberStatus.ACTIVE): len(rows)})

        db.in_transaction(work)
    return news.id


def measure(size: int) -> dict[str, float]:
    """Seconds, deliveries a second, and MB of this process before and at most, for one list."""
    caller = _sender()
    news = _fill(caller, size)
    domain = models.SenderDomain.get_by_id(caller.domain_id).name
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    given = {
        "name": "News",
        "from": f"The News <news@{domain}>",
        "subject": "Hi {{ firstName }}",
        "html": "<p>Hello {{ firstName }}</p>",
        "list_id": str(news),
    }
    campaign = campaigns.add(caller=caller, given=given)
    campaign_launches.launch(caller=caller, campaign=campaign)
    launched = time.perf_counter() - started
    made = 0
    while count := expansions.drain(5.0):
        made += count
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows, people = db.rows(
        "SELECT COUNT(*), COUNT(DISTINCT rcpt) FROM delivery WHERE account_id = ?", (caller.account_id,)
    )[0]
    assert made == rows == people == size, (made, rows, people)
    return {
        "subscribers": size,
        "launched_ms": round(launched * 1000, 1),
        "seconds": round(seconds, 2),
        "per_second": round(size / seconds),
        "before_mb": round(before, 1),
        "peak_mb": round(peak, 1),
    }


@click.command()
@click.option("--subscribers", default=1_000_000, show_default=True)
@click.option("--database", default="sqlite:", show_default=True, help="sqlite: or mysql://user:password@host/name")
def main(subscribers: int, database: str) -> None:
    """Make the deliveries of one message to a list; in an own folder, or in the (empty) database named."""
    with tempfile.TemporaryDirectory() as folder:
        _connect(database, Path(folder))
        figures = measure(subscribers)
        db.close()
    click.echo("  ".join(f"{name}={value}" for name, value in figures.items()))


if __name__ == "__main__":
    sys.exit(main())
