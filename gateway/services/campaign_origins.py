"""What the messages of a campaign bear, found by the campaign's public id."""

from __future__ import annotations

from gateway import ids
from gateway.services import tallies
from models import database as db


def of(account_id: int, campaign_id: str) -> str | None:
    """None for no campaign of the account; a deleted one still names what it sent."""
    uuid = ids.uuid_of("cmp", campaign_id)
    rows = db.rows(
        "SELECT id FROM campaign WHERE uuid = ? AND account_id = ?", (uuid.bytes if uuid else b"", account_id)
    )
    return tallies.name(tallies.CAMPAIGN, rows[0][0]) if rows else None
