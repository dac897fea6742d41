"""The life of a campaign that people need not look after: launched at its time, finished when it is through.

Everything hangs on rows with a due time, so an outage of any length only makes it later, and nothing happens twice.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import orjson

from gateway import clock, errors, jobs
from gateway.mail.draft import Draft
from gateway.services import (
    campaign_states,
    campaigns,
    expansions,
    identity,
    lanes,
    letters,
    messages,
    personal,
    waiting,
)
from gateway.services.campaigns import Campaign
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import CAMPAIGN_CANCELED, CAMPAIGN_SCHEDULED, CAMPAIGN_SENDING, DeliveryState, LaneKind

_LOOK_MS = 5_000
_SOON_MS = 500
_BROKEN_MS = 60_000
_MOST = 50
_PAGE = 1_000
_BATCHES = 200
_CAUSE_LENGTH = 1000
_log = logging.getLogger("commandpost.campaigns")
_UNTRIED = (int(DeliveryState.QUEUED), int(DeliveryState.CLAIMED))


def launch(*, caller: Caller | None, campaign: Campaign) -> Campaign:
    """Send it from now on; returns once that is durable. `caller` None: its time has come.

    Raises `CampaignState`, `AudienceEmpty`, `SuppressedRecipient` (all of it), `DomainNotActive`, `DomainGone`,
    `InvalidTemplate` (also where the first subscriber's fields make it fail), `TemplateNotFound`, `Invalid`,
    `TooLarge`, `AccountDisabled`, `AccountUnverified`; then it stays as it was.
    """
    campaign_states.after(campaign.state, campaign_states.LAUNCH)
    account = identity.for_account(campaign.account_id)
    sender = replace(account, domain_id=campaign.domain_id, live=campaign.live)
    letter = campaigns.letter_of(campaign)
    draft = letters.draft(letter, list_id=campaign.list_id, metered=True, own_lane=campaign.id, origin=campaign.origin)
    try:
        ready = messages.make_ready(sender, draft)
        first = ready.entry.gated.first
        if first is not None:
            _try_out(ready.entry.draft, first.email, first.fields)
        db.in_transaction(lambda tx: _launch(tx, caller, campaign, ready))
    except errors.ListUnusable:
        gone = not db.rows("SELECT 1 FROM mail_list WHERE id = ? AND deleted_ms IS NULL", (campaign.list_id,))
        raise errors.AudienceEmpty("The list or segment was deleted." if gone else None) from None
    return campaigns.find(caller=account, campaign_id=str(campaign.uuid))


def _launch(tx: db.Transaction, caller: Caller | None, campaign: Campaign, ready: messages.Ready) -> None:
    """State and message in one commit: whoever comes second finds it launched."""
    now = clock.now_ms()
    campaigns.change(tx, caller, campaign, campaign_states.LAUNCH, launched_ms=now, due_ms=now + _LOOK_MS, cause="")
    accepted = messages.store(tx, ready)
    recipients = tx.rows("SELECT total FROM expansion WHERE message_id = ?", (accepted.row_id,))[0][0]
    tx.execute(
        "UPDATE campaign SET message_id = ?, recipients = ? WHERE id = ?", (accepted.row_id, recipients, campaign.id)
    )
    held = ready.entry.gated.held
    if held:  # it is there, and goes on when a person resumes it
        now_there = replace(campaign, message_id=accepted.row_id)
        campaigns.change(tx, caller, now_there, campaign_states.PAUSE, paused_ms=now, due_ms=None, cause=held[:255])


def _try_out(draft: Draft, email: str, fields: str) -> None:
    """Raise `InvalidTemplate` for what fails for everybody: a million failures tell nobody more than one."""
    alone = {**draft.variables, "email": email}
    try:
        personal.render(
            draft.subject, draft.html, draft.text, {**alone, **orjson.loads(fields or "{}"), "email": email}
        )
    except errors.InvalidTemplate:  # it may be their fields
        personal.render(draft.subject, draft.html, draft.text, alone)


def drain(seconds: float) -> int:
    """Look after campaigns whose time has come, for up to `seconds`; how many were looked at.

    Safe to run anywhere, at any time, twice at once.
    """
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        found = campaigns.due(clock.now_ms(), most=_MOST)
        if not found:
            break
        for campaign in found:
            try:
                _look_after(campaign, end)
            except db.StoreUnavailable:
                raise
            except Exception:  # one that is broken must not keep the others
                _log.exception("campaign_not_looked_after", extra={"campaign": campaign.id})
                _look_again(campaign, clock.now_ms() + _BROKEN_MS)
            count += 1
            if time.monotonic() >= end:
                break
    return count


def _look_after(campaign: Campaign, end: float) -> None:
    if campaign.state == CAMPAIGN_SCHEDULED:
        _launch_at_its_time(campaign)
    elif campaign.state == CAMPAIGN_SENDING:
        _finish(campaign)
    elif campaign.state == CAMPAIGN_CANCELED:
        _take_back(campaign, end)
    else:
        _look_again(campaign, None)


def _launch_at_its_time(campaign: Campaign) -> None:
    try:
        launch(caller=None, campaign=campaign)
    except errors.Unavailable:
        raise
    except errors.CampaignState:
        return  # somebody was quicker
    except errors.GatewayError as refusal:
        cause = f"{refusal.slug}: {refusal.message}"[:_CAUSE_LENGTH]
        try:
            db.in_transaction(
                lambda tx: campaigns.change(
                    tx, None, campaign, campaign_states.FAIL, cause=cause, due_ms=None, ended_ms=clock.now_ms()
                )
            )
        except (errors.CampaignState, errors.CampaignNotFound):
            return


def _finish(campaign: Campaign) -> None:
    """It is sent when all deliveries are made and each was tried or has ended; retries go on behind it."""
    progress = expansions.progress([campaign.message_id or 0]).get(campaign.message_id or 0)
    if (progress is not None and not progress.done) or _has_untried(campaign):
        _look_again(campaign, clock.now_ms() + _LOOK_MS)
        return
    # Who left the list before their delivery was made never was one.
    recipients = campaign.recipients if progress is None else progress.made
    values = {"ended_ms": clock.now_ms(), "due_ms": None, "recipients": recipients}
    try:
        db.in_transaction(lambda tx: campaigns.change(tx, None, campaign, campaign_states.FINISH, **values))
    except (errors.CampaignState, errors.CampaignNotFound):
        return


def _has_untried(campaign: Campaign) -> bool:
    """Whether something waits for its first attempt; what does comes first in its lane, so little is read."""
    index = waiting.BY_LANE[db.dialect()]
    for lane in db.in_transaction(lambda tx: lanes.own_lanes(tx, **campaign.lane)):
        start = 0
        while True:
            rows = db.rows(
                f"SELECT state FROM delivery {index} WHERE lane_id = ? ORDER BY due_ms LIMIT ? OFFSET ?",
                (lane, _PAGE, start),
            )
            if any(state in _UNTRIED for (state,) in rows):
                return True
            if len(rows) < _PAGE:
                break
            start += _PAGE
    return False


def _take_back(campaign: Campaign, end: float) -> None:
    """End what waits; what a worker has in its hands comes back or is sent within moments."""
    left = False
    for lane in db.in_transaction(lambda tx: lanes.own_lanes(tx, **campaign.lane)):
        for _ in range(_BATCHES):
            count = db.in_transaction(lambda tx, lane=lane: _take_back_batch(tx, lane))  # type: ignore[misc]
            if not count or time.monotonic() >= end:
                break
            time.sleep(waiting.GAP_S)
        left = left or bool(db.rows("SELECT 1 FROM delivery WHERE lane_id = ? LIMIT 1", (lane,)))
    _look_again(campaign, clock.now_ms() + _SOON_MS if left else None)


def _take_back_batch(tx: db.Transaction, lane: int) -> int:
    index = waiting.BY_LANE[tx.dialect]
    found = waiting.find(tx, "lane_id = ?", (lane,), order="due_ms", index=index)
    waiting.end(tx, found, DeliveryState.CANCELED, campaigns.TOOK_BACK)
    return len(found)


def _look_again(campaign: Campaign, at_ms: int | None) -> None:
    """Unless somebody has changed it since."""
    db.in_transaction(
        lambda tx: tx.execute(
            "UPDATE campaign SET due_ms = ? WHERE id = ? AND state = ?", (at_ms, campaign.id, campaign.state)
        )
    )
    if at_ms is not None and at_ms <= clock.now_ms() + _SOON_MS:
        jobs.ring(jobs.CAMPAIGNS)


def collect() -> tuple[int, bool]:
    """Take away lanes of campaigns that are over, once nothing waits in them; a step of housekeeping."""
    ended = ", ".join("?" * 3)
    rows = db.rows(
        "SELECT DISTINCT c.id, c.account_id, c.domain_id FROM lane l JOIN campaign c ON c.id = l.endpoint_id"
        f" WHERE l.kind = ? AND l.endpoint_id <> 0 AND c.state IN ({ended}) LIMIT ?",
        (int(LaneKind.DELIVER), "sent", "canceled", "failed", _PAGE),
    )
    gone = 0
    for campaign_id, account_id, domain_id in rows:
        gone += db.in_transaction(
            lambda tx, key=(account_id, domain_id, campaign_id): lanes.drop_own(  # type: ignore[misc]
                tx, account_id=key[0], domain_id=key[1], own=key[2]
            )
        )
    return gone, False
