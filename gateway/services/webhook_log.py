"""What webhooks were told: deliveries, their attempts, and the numbers of each day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway import clock, config, errors
from gateway.services import domains, webhook_words, webhooks
from gateway.services.identity import Caller
from gateway.services.webhook_words import MESSAGE, NOTICE
from models import database as db
from models.vocabulary import EventKind
from models.webhook import Webhook

MOST_LISTED = 100
STATES = ("live", "told", "dead", "skipped")
DAYS = 28
LOOKED_AT_MOST = 5_000
"""Deliveries that a page of some types looks at, however few it found."""

_TEST = "test"

_BATCH = 500
_CHUNK = 200  # webhooks of one statement
_TOLD = "id, uuid, message_id, event_id, state, attempts, due_ms, last_code, last_error, created_ms"
_WALK_MS = 3_600_000
_BY_STATE = {"sqlite": "", "mysql": "FORCE INDEX (webhookdelivery_webhook_id_state)"}


@dataclass(frozen=True, slots=True)
class Told:
    """A webhook delivery: `due_ms` None once it is told or given up; `type` is empty for one whose event is gone."""

    id: int
    uuid: str  # the webhook-id
    type: str  # message.delivered, notice.domain.disabled, test
    message_id: str  # empty for a notice
    state: str
    attempts: int
    due_ms: int | None
    last_code: int | None
    last_error: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call: `code` None where no answer came; `answer` is its first 4 kB."""

    no: int
    code: int | None
    error: str
    answer: str
    started_ms: int
    ms: int


@dataclass(frozen=True, slots=True)
class Day:
    """The calls of one day, `since 1970`; `told` were answered 2xx, `silent` not at all."""

    day: int
    calls: int
    told: int
    silent: int
    average_ms: int | None
    most_ms: int


def deliveries(
    *,
    caller: Caller,
    webhook_id: int,
    state: str | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    before: int | None = None,
    count: int = MOST_LISTED,
) -> list[Told]:
    """The webhook's deliveries, the newest first: those in one state, made within these times, with ids below `before`.

    Raises `WebhookNotFound`, `Invalid`.
    """
    if state is not None and state not in STATES:
        raise errors.Invalid("State should be one of " + ", ".join(STATES), field="State")
    webhooks.find(caller=caller, webhook_id=webhook_id)
    conditions, values = _conditions(before, from_ms, to_ms)
    count = min(count, MOST_LISTED + 1)
    found: list[tuple[Any, ...]] = []
    # A state at a time: an index has them in order.
    for one in STATES if state is None else (state,):
        found += db.rows(
            f"SELECT {_TOLD} FROM webhook_delivery {_BY_STATE[db.dialect()]}"
            f" WHERE webhook_id = ? AND state = ?{conditions} ORDER BY id DESC LIMIT ?",
            (webhook_id, one, *values, count),
        )
    found = sorted(found, key=lambda row: -row[0])[:count]
    return _told(found)


def page(
    *,
    caller: Caller,
    webhook_id: int,
    count: int,
    types: Sequence[str] = (),
    state: str | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    before: int | None = None,
) -> tuple[list[Told], int | None]:
    """Up to `count` of the same, also of some types alone, and the id below which to go on; None at the end.

    Types are words that the webhook may ask for, and `test`. A page that has looked at `LOOKED_AT_MOST` ends there.
    Raises `WebhookNotFound`, `Invalid`, `InvalidEvent`.
    """
    surface = webhooks.find(caller=caller, webhook_id=webhook_id).surface
    words = [word for word in types if word != _TEST]
    wanted = webhook_words.read(words, surface) if words else webhook_words.Wanted([], 0, [])
    found: list[Told] = []
    for _ in range(LOOKED_AT_MOST // MOST_LISTED):
        some = deliveries(
            caller=caller, webhook_id=webhook_id, state=state, from_ms=from_ms, to_ms=to_ms, before=before,
            count=MOST_LISTED + 1 if types else count + 1,
        )  # fmt: skip
        most = MOST_LISTED if types else count
        for at, one in enumerate(some[:most]):
            if not types or _fits(one.type, wanted, test=_TEST in types):
                found.append(one)
                if len(found) == count:
                    return found, one.id if at + 1 < len(some) else None
            before = one.id
        if len(some) <= most:
            return found, None
    return found, before


def _fits(type_: str, wanted: webhook_words.Wanted, *, test: bool) -> bool:
    if type_.startswith(MESSAGE):
        kind = next(kind for kind in EventKind if kind.word == type_.removeprefix(MESSAGE))
        return bool(wanted.kinds >> kind & 1)
    if type_.startswith(NOTICE):
        return bool({"*", type_.removeprefix(NOTICE)} & set(wanted.notices))
    return test and type_ == _TEST


def _conditions(before: int | None, from_ms: int | None, to_ms: int | None) -> tuple[str, list[int]]:
    conditions, values = "", []
    for part, value in ((" AND id < ?", before), (" AND created_ms >= ?", from_ms), (" AND created_ms <= ?", to_ms)):
        if value is not None:
            conditions += part
            values.append(value)
    return conditions, values


def _told(found: Sequence[tuple[Any, ...]]) -> list[Told]:
    types = _types([row[3] for row in found])
    uuids = _message_uuids([row[2] for row in found if row[2] > 0])
    return [
        Told(id_, str(UUID(bytes=bytes(uuid))), types.get(event_id, ""), uuids.get(message_id, ""), *rest)
        for id_, uuid, message_id, event_id, *rest in found
    ]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What an endpoint of the account was not told in the end, and which; `status` active, disabled or deleted."""

    told: Told
    webhook_id: int
    webhook_uuid: str
    url: str
    status: str


def dead_letters(
    *,
    caller: Caller,
    domain_id: int | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    before: int | None = None,
    count: int = MOST_LISTED,
) -> list[DeadLetter]:
    """The dead letters of all webhooks of the account, the newest first, those of deleted webhooks too.

    Of one domain (always that of a domain's key) only those of its own webhooks. Raises `NotFound` (the domain).
    """
    if domain_id is not None:
        domain_id = domains.find(caller=caller, domain_id=domain_id, past=True).id
    wanted = domain_id if domain_id is not None else caller.domain_id
    query = Webhook.select().where(Webhook.account_id == caller.account_id)
    hooks = {hook.id: hook for hook in (query if wanted is None else query.where(Webhook.domain_id == wanted))}
    conditions, values = _conditions(before, from_ms, to_ms)
    count = min(count, MOST_LISTED + 1)
    # The index has each webhook's in order; an account's together it has not.
    one = (
        f"SELECT * FROM (SELECT {_TOLD}, webhook_id FROM webhook_delivery {_BY_STATE[db.dialect()]}"
        f" WHERE webhook_id = ? AND state = 'dead'{conditions} ORDER BY id DESC LIMIT ?) AS some"
    )
    found: list[tuple[Any, ...]] = []
    ids = sorted(hooks)
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        union = " UNION ALL ".join([one] * len(some))
        params = [value for id_ in some for value in (id_, *values, count)]
        found += db.rows(f"SELECT * FROM ({union}) AS merged ORDER BY id DESC LIMIT ?", (*params, count))
    found = sorted(found, key=lambda row: -row[0])[:count]
    told = _told([row[:-1] for row in found])
    return [_dead(one_told, hooks[row[-1]]) for one_told, row in zip(told, found, strict=True)]


def _dead(told: Told, hook: Any) -> DeadLetter:
    status = "deleted" if hook.deleted_ms is not None else str(hook.status)
    return DeadLetter(told, hook.id, str(hook.uuid), hook.url, status)


def find(*, caller: Caller, webhook_id: int, uuid: str) -> int:
    """The number of the webhook's delivery with that `webhook-id`; raises `WebhookNotFound`."""
    webhooks.find(caller=caller, webhook_id=webhook_id)
    try:
        key = UUID(uuid).bytes
    except ValueError:
        key = b""
    rows = db.rows("SELECT id FROM webhook_delivery WHERE uuid = ? AND webhook_id = ?", (key, webhook_id))
    if not rows:
        raise errors.WebhookNotFound("There is no such webhook delivery.", what="webhook delivery")
    return int(rows[0][0])


def attempts(*, caller: Caller, delivery_id: int) -> list[Attempt]:
    """The calls of one webhook delivery, the oldest first; after a replay they are numbered from 1 again.

    Raises `WebhookNotFound`.
    """
    owner = db.rows("SELECT webhook_id FROM webhook_delivery WHERE id = ?", (delivery_id,))
    webhooks.find(caller=caller, webhook_id=owner[0][0] if owner else 0)
    found = db.rows(
        "SELECT no, code, error, answer, started_ms, ms FROM webhook_attempt WHERE webhook_delivery_id = ? ORDER BY id",
        (delivery_id,),
    )
    return [Attempt(*row) for row in found]


def days(*, caller: Caller, webhook_id: int, days: int = DAYS) -> list[Day]:
    """The numbers of the last `days` days on which it was called, the newest first; raises `WebhookNotFound`."""
    webhooks.find(caller=caller, webhook_id=webhook_id)
    found = db.rows(
        "SELECT day, calls, told, silent, sum_ms, most_ms FROM webhook_count WHERE webhook_id = ? AND day > ?"
        " ORDER BY day DESC",
        (webhook_id, clock.day_number(clock.now_ms()) - days),
    )
    return [
        Day(day, calls, told, silent, round(total / (calls - silent)) if calls > silent else None, most)
        for day, calls, told, silent, total, most in found
    ]


class _Mark:
    """How far this process has looked for deliveries that have run out, and when it begins anew."""

    owner: object = None
    after = 0
    next_ms = 0


def collect() -> tuple[int, bool]:
    """Take out a window of deliveries that were told or given up long ago; how many, and whether to go on.

    Dead letters that stay are walked over once an hour, not every time.
    """
    now = clock.now_ms()
    if _Mark.owner is not db.database.obj:
        _Mark.owner, _Mark.after, _Mark.next_ms = db.database.obj, 0, 0
    if now < _Mark.next_ms:
        return 0, False
    kept = config.settings()
    told_ms = now - kept.webhook_keep_days * clock.DAY_MS
    dead_ms = now - kept.webhook_dead_days * clock.DAY_MS
    newest_old_ms = max(told_ms, dead_ms)
    window = db.rows(
        f"SELECT id, state, created_ms FROM webhook_delivery WHERE id > ? ORDER BY id LIMIT {_BATCH}", (_Mark.after,)
    )
    limits = {"told": told_ms, "skipped": told_ms, "dead": dead_ms}
    gone = [(id_,) for id_, state, created_ms in window if created_ms < limits.get(state, 0)]
    if gone:
        marks = ", ".join("?" * len(gone))
        values = [id_ for (id_,) in gone]

        def work(tx: db.Transaction) -> None:
            tx.execute(f"DELETE FROM webhook_attempt WHERE webhook_delivery_id IN ({marks})", values)
            # Whatever was replayed in between stays.
            tx.execute(f"DELETE FROM webhook_delivery WHERE id IN ({marks}) AND due_ms IS NULL", values)

        db.in_transaction(work)
    if len(window) < _BATCH or window[-1][2] >= newest_old_ms:
        _Mark.after, _Mark.next_ms = 0, now + _WALK_MS
        return len(gone), False
    _Mark.after = window[-1][0]
    return len(gone), True


def _types(event_ids: list[int]) -> dict[int, str]:
    """By the `event_id` of a delivery, as the native payload spells it."""
    found = {0: _TEST}
    events, notices = [id_ for id_ in event_ids if id_ > 0], [-id_ for id_ in event_ids if id_ < 0]
    if events:
        rows = db.rows(f"SELECT id, kind FROM event WHERE id IN ({', '.join('?' * len(events))})", events)
        found |= {id_: f"{MESSAGE}{EventKind(kind).word}" for id_, kind in rows}
    if notices:
        rows = db.rows(f"SELECT id, kind FROM notice WHERE id IN ({', '.join('?' * len(notices))})", notices)
        found |= {-id_: f"{NOTICE}{kind}" for id_, kind in rows}
    return found


def _message_uuids(message_ids: list[int]) -> dict[int, str]:
    if not message_ids:
        return {}
    rows = db.rows(f"SELECT id, uuid FROM message WHERE id IN ({', '.join('?' * len(message_ids))})", message_ids)
    return {id_: str(UUID(bytes=bytes(uuid))) for id_, uuid in rows}
