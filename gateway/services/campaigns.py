"""Campaigns of an account: made, changed, given a time, paused, resumed and taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors, ids, jobs
from gateway.services import (
    audit,
    campaign_states,
    expansions,
    idempotency,
    identity,
    lanes,
    letters,
    references,
    senders,
    tallies,
)
from gateway.services.identity import Caller
from gateway.services.letters import Letter
from models import database as db
from models.vocabulary import CAMPAIGN_DRAFT, CAMPAIGN_SCHEDULED, CAMPAIGN_STATES, DeliveryState

MOST_LISTED = 200
NAME_LENGTH = 255
FURTHEST_DAYS = 366
"""How far ahead a campaign may be scheduled."""

_PAST_MS = 60_000
"""A time that has passed by less is now: clocks of clients differ."""
_SETTLE_MS = 2_000
_COLUMNS = (
    "id, uuid, account_id, domain_id, live, name, state, list_id, scheduled_ms, message_id, recipients, cause,"
    " created_ms, updated_ms, launched_ms, paused_ms, ended_ms"
)
TOOK_BACK = "the campaign was canceled"


@dataclass(frozen=True, slots=True)
class Campaign:
    """`list_id` is the number of a list or a segment; `recipients` were in it at the launch."""

    id: int
    uuid: UUID
    account_id: int
    domain_id: int
    live: bool
    name: str
    state: str
    list_id: int
    scheduled_ms: int | None
    message_id: int | None
    recipients: int
    cause: str
    created_ms: int
    updated_ms: int
    launched_ms: int | None
    paused_ms: int | None
    ended_ms: int | None

    @property
    def public_id(self) -> str:
        return ids.public_id("cmp", self.uuid)

    @property
    def origin(self) -> str:
        """What its message and their events bear."""
        return tallies.name(tallies.CAMPAIGN, self.id)

    @property
    def lane(self) -> dict[str, int]:
        """By what `lanes` finds those of its own."""
        return {"account_id": self.account_id, "domain_id": self.domain_id, "own": self.id}


def add(*, caller: Caller, given: Mapping[str, Any], asked: idempotency.Request | None = None) -> Campaign:
    """Make a draft of a campaign, or with `scheduled_at` (milliseconds) a scheduled one; under a key once.

    `given` has `name`, `list_id` or `segment_id`, `scheduled_at` and the names of a letter. Raises `InvalidFields`,
    `NotFound` (the list or segment), `TemplateNotFound`, `InvalidTemplate`, `NotAllowed`, `DomainNotVerified`,
    `IdempotencyMismatch`, `IdempotencyRunning`; scheduled also `DomainNotActive`.
    """
    letter = letters.read(caller, given)
    name, list_id = _name(given.get("name")), references.audience(caller, given)
    domain_id = letters.domain_of(caller, letter)
    scheduled_ms = given.get("scheduled_at")
    state = CAMPAIGN_DRAFT
    if scheduled_ms is not None:
        check_time(scheduled_ms)
        check_domain(domain_id)
        state = CAMPAIGN_SCHEDULED
    now, uuid = clock.now_ms(), ids.new_uuid()

    def make(tx: db.Transaction) -> str:
        tx.execute(
            "INSERT INTO campaign (uuid, account_id, domain_id, live, name, state, content, list_id, scheduled_ms,"
            " recipients, cause, due_ms, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', ?, ?, ?)",
            (
                uuid.bytes, caller.account_id, domain_id, caller.live, name, state, orjson.dumps(letter).decode(),
                list_id, scheduled_ms, scheduled_ms, now, now,
            ),
        )  # fmt: skip
        audit.record(
            tx, caller=caller, action="campaign.create", what=f"campaign:{ids.public_id('cmp', uuid)}",
            after={"name": name, "state": state, "scheduled_ms": scheduled_ms},
        )  # fmt: skip
        _ring(tx, scheduled_ms)
        return str(uuid)

    found = db.in_transaction(lambda tx: idempotency.once(tx, asked, lambda: make(tx), now_ms=now))
    return find(caller=caller, campaign_id=found)


def find(*, caller: Caller, campaign_id: str) -> Campaign:
    """By its public id or UUID; raises `CampaignNotFound`, for a foreign one too."""
    uuid = ids.uuid_of("cmp", campaign_id)
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM campaign WHERE uuid = ? AND account_id = ? AND deleted_ms IS NULL",
        (uuid.bytes if uuid is not None else b"", caller.account_id),
    )
    if not rows or caller.domain_id not in (None, rows[0][3]):
        raise errors.CampaignNotFound(what="campaign")
    return read(rows[0])


def owner(*, campaign_id: str) -> Caller:
    """For the operator's shell: the account of a campaign as a caller; raises `CampaignNotFound`."""
    uuid = ids.uuid_of("cmp", campaign_id)
    rows = db.rows("SELECT account_id FROM campaign WHERE uuid = ?", (uuid.bytes if uuid is not None else b"",))
    if not rows:
        raise errors.CampaignNotFound(what="campaign")
    return identity.for_account(rows[0][0])


def letter_of(campaign: Campaign) -> Letter:
    ((content,),) = db.rows("SELECT content FROM campaign WHERE id = ?", (campaign.id,))
    return dict(orjson.loads(content))


def list_(
    *,
    caller: Caller,
    state: str = "",
    name: str = "",
    list_id: int | None = None,
    before: int | None = None,
    count: int = MOST_LISTED,
) -> list[Campaign]:
    """Some of the account's campaigns, the newest first: those before the number. Raises `Invalid`.

    In one state, to one list or segment, with `name` somewhere in their name, in any case.
    """
    where, values = "account_id = ? AND deleted_ms IS NULL", [caller.account_id]
    if list_id is not None:
        where, values = f"{where} AND list_id = ?", [*values, list_id]
    if state:
        if state not in CAMPAIGN_STATES:
            raise errors.Invalid("status should be one of " + ", ".join(CAMPAIGN_STATES) + ".", field="status")
        where, values = f"{where} AND state = ?", [*values, state]  # type: ignore[list-item]
    if caller.domain_id is not None:
        where, values = f"{where} AND domain_id = ?", [*values, caller.domain_id]
    if before is not None:
        where, values = f"{where} AND id < ?", [*values, before]
    limit = "" if name else f" LIMIT {count}"
    rows = db.rows(f"SELECT {_COLUMNS} FROM campaign WHERE {where} ORDER BY id DESC{limit}", values)
    # Folded here: the two databases do not agree on what the same letters are.
    found = (read(row) for row in rows)
    return [one for one in found if name.casefold() in one.name.casefold()][:count]


def update(*, caller: Caller, campaign: Campaign, given: Mapping[str, Any]) -> Campaign:
    """Change what is given of a campaign that was not launched; `scheduled_at` None takes it off its schedule.

    Raises what `add` raises, and `CampaignState`.
    """
    campaign_states.after(campaign.state, campaign_states.CHANGE)
    letter = letters.read(caller, given, old=letter_of(campaign))
    values: dict[str, Any] = {"content": orjson.dumps(letter).decode()}
    values["domain_id"] = letters.domain_of(caller, letter)
    if "name" in given:
        values["name"] = _name(given["name"])
    if given.get("list_id") is not None or given.get("segment_id") is not None:
        values["list_id"] = references.audience(caller, given)
    action = campaign_states.CHANGE
    if "scheduled_at" in given:
        scheduled_ms = given["scheduled_at"]
        values |= {"scheduled_ms": scheduled_ms, "due_ms": scheduled_ms}
        if scheduled_ms is not None:
            check_time(scheduled_ms)
            action = campaign_states.SCHEDULE
        elif campaign.state == CAMPAIGN_SCHEDULED:
            action = campaign_states.UNSCHEDULE
    if campaign_states.after(campaign.state, action) == CAMPAIGN_SCHEDULED:
        check_domain(values["domain_id"])
    db.in_transaction(lambda tx: change(tx, caller, campaign, action, **values))
    return find(caller=caller, campaign_id=str(campaign.uuid))


def schedule(*, caller: Caller, campaign: Campaign, at_ms: int) -> Campaign:
    """Have it launched at a time; raises `CampaignState`, `InvalidFields`, `DomainNotActive`."""
    check_time(at_ms)
    check_domain(campaign.domain_id)
    db.in_transaction(
        lambda tx: change(tx, caller, campaign, campaign_states.SCHEDULE, scheduled_ms=at_ms, due_ms=at_ms)
    )
    return find(caller=caller, campaign_id=str(campaign.uuid))


def pause(*, caller: Caller, campaign: Campaign) -> Campaign:
    """Nothing of it leaves from within a second on: no more deliveries are made, those that wait are held.

    Raises `CampaignState`.
    """

    def work(tx: db.Transaction) -> None:
        now = clock.now_ms()
        change(tx, caller, campaign, campaign_states.PAUSE, paused_ms=now, due_ms=None)
        expansions.pause(tx, message_id=campaign.message_id or 0, paused=True)
        lanes.hold(tx, **campaign.lane, cause="the campaign is paused")

    db.in_transaction(work)
    return find(caller=caller, campaign_id=str(campaign.uuid))


def resume(*, caller: Caller, campaign: Campaign) -> Campaign:
    """Go on exactly where it was paused; the pause counts for nobody's time to be tried. Raises `CampaignState`."""
    campaign_states.after(campaign.state, campaign_states.RESUME)
    caller.must_reach(live=campaign.live)
    stood_ms = max(0, clock.now_ms() - (campaign.paused_ms or clock.now_ms()))
    _give_back(campaign, stood_ms)

    def work(tx: db.Transaction) -> None:
        due_ms = clock.now_ms() + _SETTLE_MS
        change(tx, caller, campaign, campaign_states.RESUME, paused_ms=None, due_ms=due_ms)
        tx.execute(
            "UPDATE expansion SET expires_ms = expires_ms + ? WHERE message_id = ?", (stood_ms, campaign.message_id)
        )
        expansions.pause(tx, message_id=campaign.message_id or 0, paused=False)
        lanes.let_go(tx, **campaign.lane)

    db.in_transaction(work)
    return find(caller=caller, campaign_id=str(campaign.uuid))


def _give_back(campaign: Campaign, stood_ms: int) -> None:
    """Retries that waited meanwhile are given the time; those never tried get theirs with the first attempt."""
    found = [
        row_id
        for lane in db.in_transaction(lambda tx: lanes.own_lanes(tx, **campaign.lane))
        for (row_id,) in db.rows(
            "SELECT id FROM delivery WHERE lane_id = ? AND due_ms > ? AND attempts > 0",
            (lane, campaign.launched_ms or 0),
        )
    ]
    for start in range(0, len(found), 500):
        some = found[start : start + 500]
        marks = ",".join("?" * len(some))
        db.in_transaction(
            lambda tx, some=some, marks=marks: tx.execute(  # type: ignore[misc]
                f"UPDATE delivery SET expires_ms = expires_ms + ? WHERE id IN ({marks})", (stood_ms, *some)
            )
        )


def cancel(*, caller: Caller, campaign: Campaign) -> Campaign:
    """Take back what has not left, with an event each, behind the answer; raises `CampaignState`."""

    def work(tx: db.Transaction) -> None:
        now = clock.now_ms()
        launched = campaign.message_id is not None
        change(tx, caller, campaign, campaign_states.CANCEL, ended_ms=now, due_ms=now if launched else None)
        if launched:
            expansions.end(tx, state=DeliveryState.CANCELED, reason=TOOK_BACK, message_id=campaign.message_id)
            lanes.hold(tx, **campaign.lane, cause=TOOK_BACK)
            tx.after_commit(lambda: jobs.ring(jobs.EXPAND), key=jobs.EXPAND)
            _ring(tx, now)

    db.in_transaction(work)
    return find(caller=caller, campaign_id=str(campaign.uuid))


def delete(*, caller: Caller, campaign: Campaign) -> None:
    """Forget a campaign that does not send, with its numbers; what it sent stays. Raises `CampaignState`."""

    def work(tx: db.Transaction) -> None:
        now = clock.now_ms()
        change(tx, caller, campaign, campaign_states.DELETE, deleted_ms=now, due_ms=None, content="{}")
        tallies.forget(tx, campaign.origin)

    db.in_transaction(work)


def change(tx: db.Transaction, caller: Caller | None, campaign: Campaign, action: str, **values: Any) -> None:
    """The one writer of a campaign's row: the state follows from the table, whatever was read before.

    `caller` None is the gateway itself. Raises `CampaignState`, `CampaignNotFound` where it was deleted meanwhile, and
    `NotAllowed` for a test key where it is live.
    """
    if caller is not None:
        caller.must_reach(live=campaign.live)
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    found = tx.rows(f"SELECT state, message_id FROM campaign WHERE id = ? AND deleted_ms IS NULL{lock}", (campaign.id,))
    if not found:
        raise errors.CampaignNotFound(what="campaign")
    state = campaign_states.after(found[0][0], action)
    if found[0][1] != campaign.message_id:  # launched since it was read: what the caller does would miss its message
        raise errors.CampaignState("The campaign is being launched now; ask again.", state=found[0][0])
    columns = {"state": state, "updated_ms": clock.now_ms(), **values}
    sets = ", ".join(f"{name} = ?" for name in columns)
    tx.execute(f"UPDATE campaign SET {sets} WHERE id = ?", (*columns.values(), campaign.id))
    told = ("name", "scheduled_ms", "cause")
    audit.record(
        tx, caller=caller, action=f"campaign.{action}", what=f"campaign:{campaign.public_id}",
        before={"state": found[0][0], **{name: getattr(campaign, name) for name in told}},
        after={"state": state, **{name: values.get(name, getattr(campaign, name)) for name in told}},
        account_id=campaign.account_id,
    )  # fmt: skip


def due(now_ms: int, *, most: int) -> list[Campaign]:
    """Campaigns that a worker should look at now."""
    rows = db.rows(f"SELECT {_COLUMNS} FROM campaign WHERE due_ms <= ? ORDER BY due_ms LIMIT ?", (now_ms, most))
    return [read(row) for row in rows]


def read(row: tuple[Any, ...]) -> Campaign:
    """A row of `_COLUMNS`."""
    row_id, uuid, account_id, domain_id, live, *rest = row
    return Campaign(row_id, UUID(bytes=bytes(uuid)), account_id, domain_id, bool(live), *rest)


def check_time(at_ms: int) -> None:
    """Raises `InvalidFields` for a time that has passed or is too far ahead."""
    now = clock.now_ms()
    text = ""
    if at_ms < now - _PAST_MS:
        text = "Should be in the future."
    elif at_ms > now + FURTHEST_DAYS * clock.DAY_MS:
        text = f"Should be at most {FURTHEST_DAYS} days ahead."
    if text:
        raise errors.InvalidFields(f"scheduled_at: {text}", fields=[{"field": "scheduled_at", "message": text}])


def check_domain(domain_id: int) -> None:
    """Raises `DomainNotActive` and `DomainGone`."""
    found = senders.sender(domain_id)
    if found is None or found.deleted:
        raise errors.DomainGone()
    if not found.enabled:
        raise errors.DomainNotActive()


def _name(value: Any) -> str:
    name = value.strip() if isinstance(value, str) else ""
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        text = f"Should have 1 to {NAME_LENGTH} printable characters."
        raise errors.InvalidFields(f"name: {text}", fields=[{"field": "name", "message": text}])
    return name


def _ring(tx: db.Transaction, due_ms: int | None) -> None:
    if due_ms is not None and due_ms <= clock.now_ms():
        tx.after_commit(lambda: jobs.ring(jobs.CAMPAIGNS), key=jobs.CAMPAIGNS)
