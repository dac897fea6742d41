"""Changes to a webhook: where it leads, what it hears of, whether it is told, and the secret that signs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gateway import clock, config, errors, vault
from gateway.services import audit, notices, webhook_secrets, webhook_words, webhooks
from gateway.services.identity import Caller
from gateway.services.webhook_claims import bury
from gateway.services.webhooks import Hook
from gateway.transports import http_call
from models.database import Transaction, in_transaction
from models.vocabulary import NoticeKind
from models.webhook import Webhook

OVERLAP_HOURS, OVERLAP_HOURS_MOST = 24, 168

_HOUR_MS = 3_600_000


def update(
    *,
    caller: Caller,
    webhook_id: int,
    url: str | None = None,
    event: str | Sequence[str] | None = None,
    active: bool | None = None,
    test_events: bool | None = None,
    name: str | None = None,
) -> Hook:
    """Change what is given. One that is disabled is told nothing, what waits for it goes to the dead letters.

    Enabling starts anew, whatever happened before; dead letters come back by a replay alone.
    Raises `WebhookNotFound`, `InvalidUrl`, `PrivateUrl`, `InvalidEvent`.
    """
    found = webhooks.find(caller=caller, webhook_id=webhook_id)
    changes: dict[str, object] = {}
    wanted = webhook_words.read(event, found.surface) if event is not None else None
    if wanted is not None and found.domain_id is not None:
        wanted = webhook_words.of_domain(wanted, found.surface)
    if url is not None:
        url = url.strip()
        http_call.check(url, config.settings().webhook_allow)
        changes |= {"url": url, "strikes": 0, "failing_ms": None}
    if wanted is not None:
        changes |= {
            "events": json.dumps(wanted.spelled),
            "kinds": wanted.kinds,
            "notices": json.dumps(wanted.notices) if wanted.notices else None,
        }
    if test_events is not None:
        changes["test_events"] = test_events
    if name is not None:
        changes["name"] = name.strip() or None

    def work(tx: Transaction) -> None:
        if changes:
            names = ", ".join(f"{name} = ?" for name in changes)
            tx.execute(f"UPDATE webhook SET {names} WHERE id = ?", (*changes.values(), webhook_id))
        if url is not None or active:
            tx.execute("UPDATE lane SET paused_until_ms = 0, cause = '' WHERE id = ?", (found.lane_id,))
        if active:
            _enable(tx, found)
        elif active is False:
            _disable(tx, found)
        after = {
            "url": url, "events": wanted.spelled if wanted is not None else None, "test_events": test_events,
            "status": None if active is None else "active" if active else "disabled",
        }  # fmt: skip
        before = {
            "url": found.url, "events": json.loads(found.events), "test_events": found.test_events,
            "status": found.status,
        }  # fmt: skip
        changed = {name: value for name, value in after.items() if value is not None}
        audit.record(
            tx, caller=caller, action="webhook.update", what=f"webhook:{webhook_id}", before=before,
            after=before | changed,
        )  # fmt: skip

    in_transaction(work)
    return webhooks.shown(webhooks.find(caller=caller, webhook_id=webhook_id))


def rotate_secret(*, caller: Caller, webhook_id: int, overlap_hours: int = OVERLAP_HOURS) -> Hook:
    """Sign with a new secret from now on, and with the old one too for `overlap_hours` (0 to 168).

    A secret that was still signing beside the old one signs no more. Raises `WebhookNotFound`, `Invalid`.
    """
    if not 0 <= overlap_hours <= OVERLAP_HOURS_MOST:
        raise errors.Invalid(f"OverlapHours should be from 0 to {OVERLAP_HOURS_MOST}", field="OverlapHours")
    found = webhooks.find(caller=caller, webhook_id=webhook_id)
    sealed = vault.seal(webhook_secrets.make(), found.uuid.hex)
    until = clock.now_ms() + overlap_hours * _HOUR_MS if overlap_hours else None

    def work(tx: Transaction) -> None:
        # The order matters on MySQL: an assignment sees those to its left.
        tx.execute(
            "UPDATE webhook SET old_secret = secret, old_secret_until_ms = ?, secret = ? WHERE id = ?",
            (until, sealed, webhook_id),
        )
        if until is None:
            tx.execute("UPDATE webhook SET old_secret = NULL WHERE id = ?", (webhook_id,))
        told = {"overlap_hours": overlap_hours}
        audit.record(tx, caller=caller, action="webhook.rotate_secret", what=f"webhook:{webhook_id}", after=told)

    in_transaction(work)
    return webhooks.shown(webhooks.find(caller=caller, webhook_id=webhook_id))


def _enable(tx: Transaction, hook: Webhook) -> None:
    found = tx.execute(
        "UPDATE webhook SET status = 'active', strikes = 0, failing_ms = NULL, disabled_ms = NULL,"
        " disabled_cause = NULL WHERE id = ? AND status <> 'active'",
        (hook.id,),
    ).rowcount
    if not found:
        return
    notices.record(
        tx,
        NoticeKind.WEBHOOK_ENABLED,
        account_id=hook.account_id,
        domain_id=hook.domain_id,
        data={"webhook_id": hook.id, "url": hook.url},
    )


def _disable(tx: Transaction, hook: Webhook) -> None:
    """By its owner, who knows: no notice."""
    cause = "its owner disabled it"
    found = tx.execute(
        "UPDATE webhook SET status = 'disabled', disabled_ms = ?, disabled_cause = ?"
        " WHERE id = ? AND status = 'active'",
        (clock.now_ms(), cause, hook.id),
    ).rowcount
    if found:
        bury(tx, hook.id, cause)
