"""`commandpost webhook`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from cli import opening
from cli.answer import Answer, fields, table, verb
from gateway import clock
from gateway.services import domains, webhook_changes, webhook_log, webhook_replays, webhook_samples, webhooks
from gateway.services.identity import OCTETH
from gateway.services.webhook_payload import SURFACES
from gateway.services.webhooks import Hook


@click.group()
def webhook() -> None:
    """Webhooks."""


_user = click.option("--user", "email", required=True, help="Email address of the account.")
_number = click.argument("number", type=click.IntRange(min=1))
_since = click.option("--since", type=click.DateTime(), help="Only those of this time (UTC) or later.")
_until = click.option("--until", type=click.DateTime(), help="Only those of this time (UTC) or earlier.")


@webhook.command()
@_user
@click.option("--domain", "names", multiple=True, help="Whose events: one domain, several, or without it all.")
@click.option("--event", "events", required=True, multiple=True, help="What it hears of: delivered, bounced, all …")
@click.option("--url", required=True, help="Where to post it.")
@click.option("--payload", type=click.Choice(list(SURFACES)), default=OCTETH, help="The form of what it is sent.")
@click.option("--test-events", is_flag=True, help="Messages of test keys too.")
@click.option("--id", "number", type=click.IntRange(min=1), help="The number that clients know it by.")
@verb
def add(
    email: str,
    names: tuple[str, ...],
    events: tuple[str, ...],
    url: str,
    payload: str,
    test_events: bool,
    number: int | None,
) -> Answer:
    """Tell events of a domain, of several or of all of an account to a URL."""
    with opening.store():
        caller = opening.caller(email)
        ids = [domains.find_by_name(caller=caller, name=name).id for name in names]
        hook = webhooks.add(
            caller=caller,
            domain_id=ids[0] if len(ids) == 1 else None,
            domain_ids=ids if len(ids) > 1 else None,
            event=[word for text in events for word in text.split(",")],
            url=url,
            surface=payload,
            test_events=test_events,
            id=number,
        )
    spelled = ",".join(hook.events)
    data = {"id": hook.id, "uuid": hook.uuid, "event": spelled, "url": hook.url, "secret": hook.secret}
    return Answer(data, fields(data.items()))


@webhook.command("list")
@_user
@click.option("--domain", help="The sender domain; without it the webhooks of groups and of the whole account.")
@verb
def list_(email: str, domain: str | None) -> Answer:
    """List the webhooks of a domain, or those of groups and of the whole account."""
    with opening.store():
        caller = opening.caller(email)
        if domain is None:
            found = webhooks.list_account(caller=caller)
        else:
            found = webhooks.list_(caller=caller, domain_id=domains.find_by_name(caller=caller, name=domain).id)
    data = [{"id": hook.id, "events": hook.events, "url": hook.url, "status": hook.status} for hook in found]
    rows = [(hook.id, ",".join(hook.events), hook.status, hook.url) for hook in found]
    return Answer(data, table(("id", "events", "status", "url"), rows))


@webhook.command()
@_number
@_user
@verb
def show(number: int, email: str) -> Answer:
    """Show a webhook: its health, its secret, why it is disabled."""
    with opening.store():
        hook = webhooks.shown(webhooks.find(caller=opening.caller(email), webhook_id=number))
    return _whole(hook)


@webhook.command()
@_number
@_user
@verb
def delete(number: int, email: str) -> Answer:
    """Remove a webhook; what waits for it goes to the dead letters."""
    with opening.store():
        webhooks.delete(caller=opening.caller(email), webhook_id=number)
    return Answer({"id": number, "deleted": True}, f"webhook {number} is deleted")


@webhook.command()
@_number
@_user
@verb
def enable(number: int, email: str) -> Answer:
    """Tell a webhook again from now on; its dead letters come back by `replay`."""
    with opening.store():
        return _whole(webhook_changes.update(caller=opening.caller(email), webhook_id=number, active=True))


@webhook.command()
@_number
@_user
@verb
def disable(number: int, email: str) -> Answer:
    """Tell a webhook nothing more; what waits goes to the dead letters."""
    with opening.store():
        return _whole(webhook_changes.update(caller=opening.caller(email), webhook_id=number, active=False))


@webhook.command()
@_number
@_user
@click.option(
    "--overlap-hours",
    type=click.IntRange(0, webhook_changes.OVERLAP_HOURS_MOST),
    default=webhook_changes.OVERLAP_HOURS,
    show_default=True,
    help="How long the old secret signs beside the new one.",
)
@verb
def rotate(number: int, email: str, overlap_hours: int) -> Answer:
    """Give a webhook a new secret."""
    with opening.store():
        caller = opening.caller(email)
        return _whole(webhook_changes.rotate_secret(caller=caller, webhook_id=number, overlap_hours=overlap_hours))


@webhook.command()
@_number
@_user
@click.option("--event", help="Which event to make up; by default the first that it asks for.")
@verb
def test(number: int, email: str, event: str | None) -> Answer:
    """Call a webhook with a made-up event; the exit status is 1 where it does not take it."""
    with opening.store():
        made = webhook_samples.send(caller=opening.caller(email), webhook_id=number, event=event)
    data = {
        "told": made.ok,
        "delivery": made.delivery_id,
        "code": made.code,
        "error": made.error,
        "answer": made.answer,
        "ms": made.ms,
        "payload": made.sent,
    }
    return Answer(data, fields(data.items()), status=0 if made.ok else 1)


@webhook.command()
@_number
@_user
@click.option("--state", type=click.Choice(webhook_log.STATES), help="Only those in this state; dead: dead letters.")
@_since
@_until
@click.option("--before", type=click.IntRange(min=1), help="Only those with a number below this one.")
@click.option("--count", type=click.IntRange(1, webhook_log.MOST_LISTED), default=50, help="How many.")
@verb
def deliveries(
    number: int,
    email: str,
    state: str | None,
    since: datetime | None,
    until: datetime | None,
    before: int | None,
    count: int,
) -> Answer:
    """List what a webhook was told and is to be told, the newest first."""
    with opening.store():
        found = webhook_log.deliveries(
            caller=opening.caller(email),
            webhook_id=number,
            state=state,
            from_ms=_ms(since),
            to_ms=_ms(until),
            before=before,
            count=count,
        )
    data = [
        {
            "id": one.id,
            "webhook_id": one.uuid,
            "type": one.type,
            "message_id": one.message_id,
            "state": one.state,
            "attempts": one.attempts,
            "due_ms": one.due_ms,
            "code": one.last_code,
            "error": one.last_error,
            "created_ms": one.created_ms,
        }
        for one in found
    ]
    rows = [
        (one.id, clock.rfc3339(one.created_ms), one.type, one.state, one.attempts, one.last_code or "", one.last_error)
        for one in found
    ]
    return Answer(data, table(("id", "made", "type", "state", "attempts", "code", "error"), rows))


@webhook.command()
@_user
@click.option("--domain", help="Only those of the webhooks of this domain.")
@_since
@_until
@click.option("--before", type=click.IntRange(min=1), help="Only those with a number below this one.")
@click.option("--count", type=click.IntRange(1, webhook_log.MOST_LISTED), default=50, help="How many.")
@verb
def dead(
    email: str, domain: str | None, since: datetime | None, until: datetime | None, before: int | None, count: int
) -> Answer:
    """List the dead letters of all webhooks of an account, the newest first."""
    with opening.store():
        caller = opening.caller(email)
        found = webhook_log.dead_letters(
            caller=caller,
            domain_id=None if domain is None else domains.find_by_name(caller=caller, name=domain).id,
            from_ms=_ms(since),
            to_ms=_ms(until),
            before=before,
            count=count,
        )
    data = [
        {
            "id": one.told.id,
            "webhook": one.webhook_id,
            "status": one.status,
            "url": one.url,
            "type": one.told.type,
            "message_id": one.told.message_id,
            "attempts": one.told.attempts,
            "code": one.told.last_code,
            "error": one.told.last_error,
            "created_ms": one.told.created_ms,
        }
        for one in found
    ]
    rows = [
        (one.told.id, clock.rfc3339(one.told.created_ms), one.webhook_id, one.told.type, one.told.last_error, one.url)
        for one in found
    ]
    return Answer(data, table(("id", "made", "webhook", "type", "error", "url"), rows))


@webhook.command()
@_number
@_user
@verb
def attempts(number: int, email: str) -> Answer:
    """Show each call of a webhook delivery, with the first 4 kB of its answer."""
    with opening.store():
        found = webhook_log.attempts(caller=opening.caller(email), delivery_id=number)
    data = [
        {
            "no": one.no,
            "started_ms": one.started_ms,
            "ms": one.ms,
            "code": one.code,
            "error": one.error,
            "answer": one.answer,
        }
        for one in found
    ]
    rows = [
        (one.no, clock.rfc3339(one.started_ms), one.ms, one.code or "", one.error or one.answer[:60]) for one in found
    ]
    return Answer(data, table(("no", "started", "ms", "code", "answer"), rows))


@webhook.command()
@_user
@click.option("--webhook", "number", type=click.IntRange(min=1), help="The webhook whose deliveries are told again.")
@click.option("--delivery", type=click.IntRange(min=1), help="A single delivery.")
@click.option("--state", type=click.Choice(webhook_replays.STATES), default="dead", help="Which are told again.")
@click.option("--event", "events", multiple=True, help="Only those of these events.")
@_since
@_until
@verb
def replay(
    email: str,
    number: int | None,
    delivery: int | None,
    state: str,
    events: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
) -> Answer:
    """Tell an endpoint again what it missed; many deliveries are brought back by the workers."""
    with opening.store():
        made = webhook_replays.begin(
            caller=opening.caller(email),
            webhook_id=number,
            delivery_id=delivery,
            state=state,
            from_ms=_ms(since),
            to_ms=_ms(until),
            event=list(events) or None,
        )
    data = {"replayed": made.replayed, "done": made.done}
    return Answer(data, fields(data.items()))


@webhook.command()
@_number
@_user
@click.option("--days", type=click.IntRange(1, 366), default=webhook_log.DAYS, show_default=True, help="How far back.")
@verb
def stats(number: int, email: str, days: int) -> Answer:
    """Calls, successes and answer times of a webhook, by day."""
    with opening.store():
        found = webhook_log.days(caller=opening.caller(email), webhook_id=number, days=days)
    data = [
        {
            "day": clock.rfc3339(one.day * clock.DAY_MS)[:10],
            "calls": one.calls,
            "told": one.told,
            "silent": one.silent,
            "average_ms": one.average_ms,
            "most_ms": one.most_ms,
        }
        for one in found
    ]
    return Answer(
        data, table(("day", "calls", "told", "silent", "average ms", "most ms"), [list(one.values()) for one in data])
    )


def _whole(hook: Hook) -> Answer:
    until, disabled = hook.old_secret_until_ms, hook.disabled_ms
    data = {
        "id": hook.id,
        "uuid": hook.uuid,
        "domain_ids": [hook.domain_id] if hook.domain_id is not None else hook.domain_ids,
        "events": hook.events,
        "payload": hook.surface,
        "url": hook.url,
        "status": hook.status,
        "secret": hook.secret,
        "old_secret_until": clock.rfc3339(until) if until is not None else None,
        "last_code": hook.last_code,
        "failing_since": clock.rfc3339(hook.failing_ms) if hook.failing_ms is not None else None,
        "disabled_at": clock.rfc3339(disabled) if disabled is not None else None,
        "disabled_cause": hook.disabled_cause,
    }
    return Answer(data, fields(data.items()))


def _ms(moment: datetime | None) -> int | None:
    """A time without a zone is UTC."""
    return None if moment is None else round(moment.replace(tzinfo=UTC).timestamp() * 1000)
