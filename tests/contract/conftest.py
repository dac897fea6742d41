"""The served application, and the accounts and rows that the documented requests name."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import time_machine
from werkzeug.serving import make_server

import models
from gateway import clock
from gateway.services import (
    apis,
    contents,
    domains,
    identity,
    lanes,
    ledger,
    mailboxes,
    messages,
    senders,
    smtps,
    suppressions,
    users,
    webhooks,
)
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.application import application
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer

OPENED = (datetime(2021, 4, 10, 12, tzinfo=UTC), datetime(2023, 1, 10, 12, tzinfo=UTC))
"""When mail was sent and opened: inside the periods that the printed requests ask for."""


@dataclass
class World:
    """An owner with a domain of everything, a stranger with the same, a newcomer with nothing.

    `values` are what stands for the names in braces of the data file.
    """

    url: str
    owner: Caller
    newcomer: Caller
    domain: models.SenderDomain
    values: dict[str, str]
    session: requests.Session = field(default_factory=requests.Session)

    def ask(self, method: str, path: str, headers: dict[str, str], body: str | bytes | None) -> requests.Response:
        data = body.encode() if isinstance(body, str) else body
        return self.session.request(method, self.url + path, headers=headers, data=data, timeout=20)

    def caller(self) -> Caller:
        """The owner as a key of the domain acts."""
        return replace(self.owner, domain_id=self.domain.id, surface="mailmark")

    def put(self, state: str) -> None:
        """Bring the world into a named state."""
        getattr(self, f"_{state}")()
        forget()

    def _plan(self, caller: Caller, **limits: int) -> None:
        account = models.Account.get_by_id(caller.account_id)
        models.Plan.update(**limits).where(models.Plan.id == account.plan_id).execute()

    def _account(self, status: str) -> None:
        models.Account.update(status=status).where(models.Account.id == self.owner.account_id).execute()

    def _domain(self, **columns: Any) -> None:
        models.SenderDomain.update(**columns).where(models.SenderDomain.id == self.domain.id).execute()

    def _no_more_domains(self) -> None:
        self._plan(self.newcomer, max_domains=0)

    def _domain_there_already(self) -> None:
        domains.add(caller=self.newcomer, name=self.domain.name, dkim=cast.signing_keys())

    def _domain_pending(self) -> None:
        self._domain(status="pending", enabled_name=None)

    def _domain_disabled(self) -> None:
        self._domain(status="disabled", enabled_name=None)

    def _domain_suspended(self) -> None:
        self._domain(status="suspended", enabled_name=None)

    def _domain_deleted(self) -> None:
        self._domain(deleted_ms=clock.now_ms(), enabled_name=None)

    def _account_disabled(self) -> None:
        self._account("disabled")

    def _account_unverified(self) -> None:
        self._account("unverified")

    def _key_revoked(self) -> None:
        key_id = int(self.values["sender_key_id"])
        models.ApiKey.update(revoked_ms=clock.now_ms()).where(models.ApiKey.id == key_id).execute()

    def _recipient_suppressed(self) -> None:
        db.in_transaction(
            lambda tx: suppressions.add(
                tx,
                account_id=self.owner.account_id,
                domain_id=self.domain.id,
                address="recipient@example.com",
                reason=suppressions.BOUNCE,
            )
        )

    def _no_emails_this_month(self) -> None:
        self._plan(self.owner, emails_month=0)

    def _send_rate(self) -> None:
        self._plan(self.owner, emails_minute=0)

    def _one_bcc(self) -> None:
        self._plan(self.owner, max_bcc=1)

    def _one_reply_to(self) -> None:
        self._plan(self.owner, max_reply_to=1)

    def _request_rate(self) -> None:
        self._plan(self.owner, requests=1)
        forget()
        bearer = {"Authorization": f"Bearer {self.values['sender_key']}"}
        assert self.ask("GET", "/api/v1/webhooks", bearer, None).status_code == 200


def forget() -> None:
    """What the process knows of accounts, domains and words."""
    for cache in (
        identity.forget,
        senders.forget,
        lanes.forget,
        contents.forget_recent,
        ledger.forget_words,
        mailboxes.forget,
    ):
        cache()


def _account(name: str) -> tuple[Caller, str]:
    """An account on a plan of its own without limits, and its key."""
    made = users.add(email=f"{name}@people.test", name=name)
    plan = models.Plan.create(name=f"contract-{uuid.uuid4()}")
    models.Account.update(plan_id=plan.id).where(models.Account.id == made["id"]).execute()
    forget()
    return identity.for_account(made["id"]), made["api_key"]


def _opened(caller: Caller, domain: models.SenderDomain, at: datetime) -> str:
    """Mail sent, delivered and opened at a time of the past; its `MessageID`."""
    with time_machine.travel(at, tick=False):
        sender = replace(caller, domain_id=domain.id, surface="octeth")
        draft = cast.draft(domain=domain.name, subject="Welcome aboard", tags=["welcome"])
        message = messages.accept(sender, draft).message_id
        row = db.rows("SELECT MAX(id) FROM message")[0][0]
        facts = [
            ledger.Fact(
                caller.account_id,
                domain.id,
                kind,
                clock.now_ms(),
                row,
                rcpt="jane@friends.test",
                ip="192.0.2.1" if kind is EventKind.OPENED else "",
                data={"user_agent": "Mozilla/5.0"} if kind is EventKind.OPENED else None,
                tags=["welcome"],
            )
            for kind in (EventKind.DELIVERED, EventKind.OPENED)
        ]
        db.in_transaction(lambda tx: ledger.record(tx, facts))
    return message


def _furnish(
    caller: Caller, name: str, *, opened: tuple[datetime, ...] = ()
) -> tuple[models.SenderDomain, dict[str, str]]:
    """A domain with one of everything; the ids by the data file's names."""
    domain = domains.add(caller=caller, name=name, trusted=True, dkim=cast.signing_keys())
    sent = [_opened(caller, domain, at) for at in opened]
    key = apis.add(caller=caller, domain_id=domain.id, description="Contract")
    login, _ = smtps.add(caller=caller, domain_id=domain.id)
    hook = webhooks.add(caller=caller, domain_id=domain.id, event="delivered", url="https://yourdomain.com/webhook")
    return domain, {
        "domain": str(domain.id),
        "sender_key": key.key,
        "sender_key_id": str(key.id),
        "smtp": str(login.id),
        "webhook": str(hook.id),
        "message": sent[0] if sent else "",
    }


@pytest.fixture
def world(store: str, tmp_path: Path) -> Iterator[World]:
    forget()
    with DnsServer() as dns:
        use_settings(tmp_path, DNS=dns.address)
        owner, key = _account("owner")
        domain, values = _furnish(owner, "example.com", opened=OPENED)
        newcomer, newcomer_key = _account("newcomer")
        stranger, _ = _account("stranger")
        _, theirs = _furnish(stranger, "stranger.test")
        values |= {
            "key": key,
            "session": users.login_with_key(api_key=key).session_id,
            "newcomer_key": newcomer_key,
            "newcomer_session": users.login_with_key(api_key=newcomer_key).session_id,
            "foreign_domain": theirs["domain"],
            "foreign_key_id": theirs["sender_key_id"],
            "foreign_smtp": theirs["smtp"],
            "foreign_webhook": theirs["webhook"],
        }
        forget()
        server = make_server("127.0.0.1", 0, application(), threaded=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        made = World(f"http://127.0.0.1:{server.server_port}", owner, newcomer, domain, values)
        yield made
        made.session.close()
        server.shutdown()
        thread.join()
        server.server_close()
