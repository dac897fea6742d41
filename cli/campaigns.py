"""`commandpost campaign`: what sends to whole lists, seen and held from the shell."""

from __future__ import annotations

from typing import Any

import click

from cli import opening
from cli.answer import Answer, table, verb
from gateway import clock
from gateway.services import campaign_reports, campaigns, identity
from gateway.services.campaigns import Campaign
from models.vocabulary import CAMPAIGN_STATES, EventKind

_ENDED = (EventKind.DELIVERED, EventKind.BOUNCED, EventKind.FAILED, EventKind.SUPPRESSED, EventKind.CANCELED)


@click.group()
def campaign() -> None:
    """Campaigns."""


@campaign.command("list")
@click.option("--user", "email", required=True, help="The account's email address.")
@click.option("--status", default="", type=click.Choice(["", *CAMPAIGN_STATES]), help="Only those.")
@click.option("--limit", type=click.IntRange(1, campaigns.MOST_LISTED), default=50, show_default=True)
@verb
def list_(email: str, status: str, limit: int) -> Answer:
    """List an account's campaigns, the newest first."""
    with opening.store():
        found = campaigns.list_(caller=opening.caller(email), state=status, count=limit)
        bodies = [_body(one) for one in found]
    rows = [(one["id"], one["status"], one["recipients"], one["pending"], one["name"]) for one in bodies]
    text = table(("campaign", "status", "recipients", "pending", "name"), rows) if rows else "no campaign"
    return Answer({"campaigns": bodies}, text)


@campaign.command()
@click.argument("campaign_id")
@verb
def pause(campaign_id: str) -> Answer:
    """Hold a campaign: nothing of it leaves from within a second on."""
    with opening.store():
        found, caller = _find(campaign_id)
        return _changed(campaigns.pause(caller=caller, campaign=found))


@campaign.command()
@click.argument("campaign_id")
@verb
def resume(campaign_id: str) -> Answer:
    """Go on where a campaign was paused."""
    with opening.store():
        found, caller = _find(campaign_id)
        return _changed(campaigns.resume(caller=caller, campaign=found))


@campaign.command()
@click.argument("campaign_id")
@verb
def cancel(campaign_id: str) -> Answer:
    """Take back what has not left."""
    with opening.store():
        found, caller = _find(campaign_id)
        return _changed(campaigns.cancel(caller=caller, campaign=found))


def _find(campaign_id: str) -> tuple[Campaign, identity.Caller]:
    caller = campaigns.owner(campaign_id=campaign_id)
    return campaigns.find(caller=caller, campaign_id=campaign_id), caller


def _changed(found: Campaign) -> Answer:
    return Answer(_body(found), f"{found.public_id} is {found.state}")


def _body(one: Campaign) -> dict[str, Any]:
    report = campaign_reports.of(one)
    return {
        "id": one.public_id,
        "name": one.name,
        "status": one.state,
        "recipients": report.recipients,
        "pending": report.pending,
        "waiting": report.waiting or None,
        "scheduled_at": None if one.scheduled_ms is None else clock.rfc3339(one.scheduled_ms),
        **{kind.word: report.of(kind) for kind in _ENDED},
    }
