"""The people of the test world: an owner, a stranger, their accounts, domains and keys."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import models
from gateway import clock, ids
from gateway.mail import dkim
from gateway.mail.draft import Draft, Mailbox
from gateway.services import domains, identity
from gateway.services.identity import Caller


@functools.cache
def signing_keys() -> tuple[tuple[str, str], ...]:
    """One RSA and one Ed25519 key for every domain of the tests: making one takes longer than most tests."""
    return tuple((name, dkim.generate(name).private) for name in ("rsa", "ed25519"))


def account(name: str = "owner", *, plan: str = "Unlimited", role: str = "user", status: str = "active") -> Caller:
    """An account and its caller."""
    row = models.Account.create(
        uuid=ids.new_uuid(),
        email=f"{name}@people.test",
        name=name,
        slug=name,
        role=role,
        status=status,
        plan_id=models.Plan.get(models.Plan.name == plan).id,
        created_ms=clock.now_ms(),
    )
    return identity.for_account(row.id)


@dataclass(frozen=True)
class Sender:
    """An account with an enabled domain; `caller` acts with a sender key of it."""

    owner: Caller
    caller: Caller
    domain: models.SenderDomain


def sender(name: str = "owner", domain: str = "shop.test", *, plan: str = "Unlimited") -> Sender:
    owner = account(name, plan=plan)
    row = domains.add(caller=owner, name=domain, trusted=True, dkim=signing_keys())
    return Sender(owner, replace(owner, domain_id=row.id, surface="octeth"), row)


def draft(*, to: str | list[Mailbox] = "jane@friends.test", domain: str = "shop.test", **changed: object) -> Draft:
    """A small draft with both bodies to one recipient."""
    fields: dict[str, object] = {
        "sender": Mailbox(f"hello@{domain}", "The Shop"),
        "subject": "Your order",
        "html": "<p>Thank you, <b>Zoë</b>!</p>",
        "text": "Thank you, Zoë!\n",
        "to": [Mailbox(to, "Jane Doe")] if isinstance(to, str) else to,
    }
    return Draft(**(fields | changed))  # type: ignore[arg-type]
