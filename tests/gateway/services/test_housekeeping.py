"""What housekeeping takes out, and what it leaves."""

from __future__ import annotations

import models
from gateway import clock, ids
from gateway.services import contents, housekeeping, idempotency, messages, scratchpad
from models import database as db
from tests import cast


def count(model: type[models.database.Model]) -> int:
    return int(model.select().count())


def test_what_has_run_out_goes_and_the_rest_stays(store: str) -> None:
    now = clock.now_ms()
    for n, expires in enumerate((now - 1, now - 10, now + 60_000)):
        models.Session.create(token_hash=f"{n}", account_id=1, created_ms=now, expires_ms=expires)
    old = now - idempotency.KEEP_MS
    for n, created in enumerate((old - 1000, old + 60_000)):
        models.IdempotencyKey.create(scope="1:send", key=f"k{n}", fingerprint="f", created_ms=created)
    for n, expires in enumerate((now - 1, now + 60_000)):
        scratchpad.write(
            f"INSERT INTO rate_counter ({'`key`' if db.dialect() == 'mysql' else 'key'}, n, expires_ms)"
            " VALUES (?, 1, ?)",
            (f"c{n}", expires),
        )
    models.Heartbeat.create(host="gone", part="web", pid=1, at_ms=now - 2 * clock.DAY_MS)
    models.Heartbeat.create(host="here", part="web", pid=1, at_ms=now)

    assert housekeeping.sweep(5.0) == 5
    assert count(models.Session) == 1
    assert [row.key for row in models.IdempotencyKey.select()] == ["k1"]
    assert [row.key for row in models.RateCounter.select()] == ["c1"]
    assert [row.host for row in models.Heartbeat.select()] == ["here"]
    assert housekeeping.sweep(5.0) == 0


def test_more_than_one_batch_goes_in_one_sweep(store: str) -> None:
    now = clock.now_ms()
    rows = [(ids.token(64), 1, now, now - 1) for _ in range(1203)]
    db.in_transaction(
        lambda tx: tx.executemany(
            "INSERT INTO session (token_hash, account_id, created_ms, expires_ms) VALUES (?, ?, ?, ?)", rows
        )
    )
    assert housekeeping.sweep(20.0) == 1203
    assert count(models.Session) == 0


def test_only_old_bodies_without_a_message_go(store: str) -> None:
    sender = cast.sender()
    messages.accept(sender.caller, cast.draft())
    used = models.Content.get()

    def orphan(body: bytes) -> int:
        prepared = contents.prepare(sender.owner.account_id, "parts", body)
        return int(db.in_transaction(lambda tx: contents.store(tx, prepared)))

    old, young, captured = orphan(b"old"), orphan(b"young"), orphan(b"captured")
    long_ago = clock.now_ms() - housekeeping.CONTENT_MS - 60_000
    models.Content.update(created_ms=long_ago).where(models.Content.id.in_([used.id, old, captured])).execute()
    models.CapturedMail.create(
        delivery_id=1, message_id=1, account_id=1, content_id=captured, mail_from="", rcpt="", created_ms=0
    )
    assert housekeeping.sweep(5.0) == 1
    assert {row.id for row in models.Content.select()} == {used.id, young, captured}
    assert not models.ContentPart.select().where(models.ContentPart.content_id == old).exists()
