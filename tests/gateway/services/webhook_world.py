"""What the tests of webhooks share: a sink, a clock moved by hand, and things that happen."""

from __future__ import annotations

import json
import time
from typing import Any

from gateway import clock
from gateway.services import ledger, messages, webhooks
from gateway.services.ledger import Fact
from models import database as db
from models.vocabulary import EventKind
from models.webhook import WebhookDelivery
from tests import cast


class Hands:
    """The clock of the test: moved on by hand, so that hours of retries pass at once."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def pass_s(self, seconds: float) -> None:
        self.ahead_ms += round(seconds * 1000)


def message(who: cast.Sender, **changed: Any) -> tuple[int, str]:
    """The number and the UUID of an accepted message."""
    uuid = messages.accept(who.caller, cast.draft(domain=who.domain.name, **changed)).message_id
    return int(db.rows("SELECT MAX(id) FROM message")[0][0]), uuid


def happen(who: cast.Sender, message_id: int, *kinds: EventKind, **fields: Any) -> None:
    facts = [
        Fact(
            who.owner.account_id, who.domain.id, kind, clock.now_ms(), message_id,
            rcpt="jane@friends.test", **fields,
        )
        for kind in kinds
    ]  # fmt: skip
    db.in_transaction(lambda tx: ledger.record(tx, facts))


def hook(who: cast.Sender, url: str, event: str = "delivered", **more: Any) -> webhooks.Hook:
    return webhooks.add(caller=who.owner, domain_id=who.domain.id, event=event, url=url, **more)


def told(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.body)["EventData"]
    return found


def states() -> list[str]:
    return [row.state for row in WebhookDelivery.select().order_by(WebhookDelivery.id)]
