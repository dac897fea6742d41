"""`python -m benchmarks.telling N`: in the installation of the environment, make N events and tell them."""

from __future__ import annotations

import sys

from gateway import clock, config
from gateway.mail.draft import Draft, Mailbox
from gateway.services import identity, ledger, messages, webhooks
from gateway.services.ledger import Fact
from models import database as db
from models.vocabulary import EventKind

_CHUNK = 500


def _fill(count: int) -> None:
    account_id, domain_id, name = db.rows("SELECT account_id, id, name FROM sender_domain")[0]
    caller = identity.Caller(account_id, "", "user", "Enabled", identity.Limits(), domain_id=domain_id)
    box = Mailbox(f"hello@{name}")
    uuids = []
    for n in range(count):
        draft = Draft(sender=box, subject=f"Order {n}", text="on its way", to=[Mailbox(f"r{n}@friends.test")])
        uuids.append(messages.accept(caller, draft).message_id)
    rows = db.rows("SELECT id, message_id, rcpt FROM delivery")
    now = clock.now_ms()
    for start in range(0, count, _CHUNK):
        facts = [
            Fact(account_id, domain_id, EventKind.DELIVERED, now, message_id, delivery_id, rcpt, data={"code": 250})
            for delivery_id, message_id, rcpt in rows[start : start + _CHUNK]
        ]
        db.in_transaction(lambda tx, facts=facts: ledger.record(tx, facts))  # type: ignore[misc]


def main() -> None:
    settings = config.settings()
    db.connect(settings.database_url, settings.data)
    _fill(int(sys.argv[1]))
    while webhooks.drain(5.0):
        pass


if __name__ == "__main__":
    main()
