"""Raw events of an account as analytics tell them: the newest first, of one message, or found by recipient and tag."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway import errors, ids
from gateway.services import domains, event_query, event_range, event_rows, event_search, message_events
from gateway.services.event_range import BY_KIND, BY_MESSAGE, INT64, Wanted
from gateway.services.event_rows import EventRow
from gateway.services.identity import Caller
from gateway.services.statistics import domain_ids, domain_names
from models import database as db
from models.account import Account
from models.vocabulary import EventKind

MOST = 200
TYPES: dict[str, frozenset[EventKind]] = message_events.WORDS | {
    f"message.{kind.word}": frozenset({kind}) for kind in EventKind if kind not in message_events.TYPES
}
"""What may be asked for: the types that webhooks are told of, and what else happens to messages."""

_CHUNK = 400  # ranges of one statement: SQLite joins no more than 500 SELECTs
_WINDOW = 2000
_LOOKED_MOST = 20_000  # events of one message that a page looks at
_CURSOR = re.compile(r"n-(\d{1,19})|m-(\d{1,19})-(\d{1,19})|q-(\d{1,10})-(\d{1,18}-\d{1,18})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """What events are asked for; `types` are keys of `TYPES`, `domain` is a name, `message` and `campaign` are ids."""

    types: Sequence[str] = ()
    message: str = ""
    campaign: str = ""
    recipient: str = ""
    tag: str = ""
    domain: str = ""
    from_ms: int | None = None
    to_ms: int | None = None

    @property
    def kinds(self) -> tuple[int, ...]:
        """Without types those of the eight that are about messages."""
        wanted = [TYPES[word] for word in self.types] or message_events.WORDS.values()
        return tuple(sorted({int(kind) for kinds in wanted for kind in kinds}))


@dataclass(frozen=True, slots=True)
class Page:
    """`events` as they are shown; `cursor` is '' at the end.

    A page may be short where little of what is looked at fits.
    """

    events: list[dict[str, Any]]
    cursor: str


def read(*, caller: Caller, asked: Asked, cursor: str = "", count: int = 50) -> Page:
    """A page of events as `find` finds them, in their one form."""
    rows, behind = find(caller=caller, asked=asked, cursor=cursor, count=count)
    workspace = Account.get_by_id(caller.account_id).slug
    providers = message_events.providers(rows)
    return Page(
        [message_events.shown(row, workspace=workspace, provider=providers.get(row.id, "")) for row in rows], behind
    )


def find(*, caller: Caller, asked: Asked, cursor: str = "", count: int = 50) -> tuple[list[EventRow], str]:
    """A page of events, and the cursor of the next, '' at the end.

    The newest first; of a message or a campaign recipient by recipient, each from its beginning; by recipient or tag
    domain by domain, the newest message first.

    Raises `NotFound` (a message, campaign or domain), `Invalid` (a type or the cursor).
    """
    unknown = [word for word in asked.types if word not in TYPES]
    if unknown:
        raise errors.Invalid(f"type should be of {', '.join(TYPES)}.", field="type")
    count = min(max(count, 1), MOST)
    own = [domains.find_by_name(caller=caller, name=asked.domain).id] if asked.domain else domain_ids(caller)
    message_id = _message(caller, asked)
    if asked.recipient or asked.tag:
        return _searched(asked, own, message_id, cursor, count)
    if message_id is not None:
        return _of_message(asked, own, message_id, cursor, count)
    return _newest(asked, own, cursor, count)


def _message(caller: Caller, asked: Asked) -> int | None:
    if asked.message:
        uuid = ids.uuid_of("msg", asked.message)
        found = db.rows(
            "SELECT id, domain_id FROM message WHERE uuid = ? AND account_id = ?",
            (uuid.bytes if uuid is not None else b"", caller.account_id),
        )
        if not found or caller.domain_id not in (None, found[0][1]):
            raise errors.NotFound("There is no such message.", what="message")
        return int(found[0][0])
    if not asked.campaign:
        return None
    uuid = ids.uuid_of("cmp", asked.campaign)
    found = db.rows(
        "SELECT message_id, domain_id FROM campaign WHERE uuid = ? AND account_id = ?",
        (uuid.bytes if uuid is not None else b"", caller.account_id),
    )
    if not found or caller.domain_id not in (None, found[0][1]):
        raise errors.NotFound("There is no such campaign.", what="campaign")
    return int(found[0][0] or 0)  # 0: it was not launched, so there is nothing


def _place(cursor: str, mode: str) -> tuple[Any, ...]:
    found = _CURSOR.fullmatch(cursor)
    if found is None or cursor[0] != mode:
        raise errors.Invalid("cursor should be next_cursor of an earlier page of this very list.", field="cursor")
    return tuple(group for group in found.groups() if group is not None)


def _newest(asked: Asked, own: Sequence[int], cursor: str, count: int) -> tuple[list[EventRow], str]:
    """Each domain and kind by its index, merged: nobody sorts what an index has in order."""
    below = int(_place(cursor, "n")[0]) if cursor else INT64
    ranges = [(domain_id, kind, *_bounds(asked, domain_id)) for domain_id in own for kind in asked.kinds]
    times, values = Wanted(0, 0, 0, (), asked.from_ms, event_range.inclusive(asked.to_ms)).where()
    one = (
        f"SELECT id FROM (SELECT id FROM event {BY_KIND[db.dialect()]} WHERE domain_id = ? AND kind = ?"
        f" AND id >= ? AND id <= ?{times} ORDER BY id DESC LIMIT ?) AS some"
    )
    found: list[int] = []
    for start in range(0, len(ranges), _CHUNK):
        some = ranges[start : start + _CHUNK]
        parameters = [
            value
            for domain_id, kind, low, high in some
            for value in (domain_id, kind, low, min(high, below - 1), *values, count + 1)
        ]
        union = " UNION ALL ".join([one] * len(some))
        rows = db.rows(f"SELECT id FROM ({union}) AS merged ORDER BY id DESC LIMIT ?", (*parameters, count + 1))
        found = sorted([*found, *(id_ for (id_,) in rows)], reverse=True)[: count + 1]
    page = found[:count]
    return _loaded(page), f"n-{page[-1]}" if len(found) > count else ""


def _bounds(asked: Asked, domain_id: int) -> tuple[int, int]:
    """Ids between which the domain's events of that time lie."""
    low, high = 0, INT64
    if asked.from_ms is not None:
        low = event_range.id_before(domain_id, asked.from_ms - event_range.DISORDER_MS)
    if asked.to_ms is not None:
        high = event_range.id_at(domain_id, asked.to_ms + event_range.DISORDER_MS)
    return low, high


def _of_message(
    asked: Asked, own: Sequence[int], message_id: int, cursor: str, count: int
) -> tuple[list[EventRow], str]:
    """Windows by the index of messages, then the conditions: what rarely fits is not searched without an end."""
    delivery_id, after = map(int, _place(cursor, "m")) if cursor else (0, 0)
    kinds, looked, found = set(asked.kinds), 0, list[tuple[int, int]]()
    to_ms = event_range.inclusive(asked.to_ms)
    while len(found) <= count and looked < _LOOKED_MOST:
        window = _window(message_id, delivery_id, after)
        for id_, delivery, kind, at_ms, domain_id in window:
            delivery_id, after = delivery or 0, id_
            in_time = (asked.from_ms is None or at_ms >= asked.from_ms) and (to_ms is None or at_ms <= to_ms)
            if kind in kinds and in_time and domain_id in own:
                found.append((delivery_id, id_))
                if len(found) > count:
                    break
        looked += len(window)
        if len(found) <= count and len(window) < _WINDOW:
            return _loaded([id_ for _, id_ in found]), ""
    page = found[:count]
    place = page[-1] if len(found) > count else (delivery_id, after)
    return _loaded([id_ for _, id_ in page]), f"m-{place[0]}-{place[1]}"


def _window(message_id: int, delivery_id: int, after: int) -> list[tuple[Any, ...]]:
    """The next events of the message in the order of its index: those about the whole of it first."""
    select = (
        f"SELECT id, delivery_id, kind, at_ms, domain_id FROM event {BY_MESSAGE[db.dialect()]} WHERE message_id = ?"
    )
    found: list[tuple[Any, ...]] = []
    if not delivery_id:
        found = db.rows(f"{select} AND delivery_id IS NULL AND id > ? ORDER BY id LIMIT {_WINDOW}", (message_id, after))
    else:
        found = db.rows(
            f"{select} AND delivery_id = ? AND id > ? ORDER BY id LIMIT {_WINDOW}", (message_id, delivery_id, after)
        )
    if len(found) < _WINDOW:
        found += db.rows(
            f"{select} AND delivery_id > ? ORDER BY delivery_id, id LIMIT ?",
            (message_id, delivery_id, _WINDOW - len(found)),
        )
    return found


def _searched(
    asked: Asked, own: Sequence[int], message_id: int | None, cursor: str, count: int
) -> tuple[list[EventRow], str]:
    """Through the search index, one domain after another; what it finds is compared as a whole."""
    parts = [f"{field}:{_quoted(word)}" for field, word in (("to", asked.recipient), ("tag", asked.tag)) if word]
    node = event_query.parse(" ".join(parts))
    at, inner = (int((place := _place(cursor, "q"))[0]), place[1] if len(place) > 1 else "") if cursor else (0, "")
    ordered = [id_ for id_ in sorted(own) if id_ >= at]
    names = domain_names(own)
    for index, domain_id in enumerate(ordered):
        wanted = Wanted(domain_id, 0, count, asked.kinds, asked.from_ms, event_range.inclusive(asked.to_ms))
        found = event_search.matching(
            wanted, node, domain_name=names.get(domain_id, ""), message_id=message_id,
            cursor=inner if domain_id == at else "", counted_most=0,
        )  # fmt: skip
        rows = [row for row in _loaded(found.ids) if _fits(asked, row)]
        if found.partial or len(found.ids) == count:
            return rows, f"q-{domain_id}-{found.cursor}"
        if rows:
            more = index + 1 < len(ordered)
            return rows, f"q-{ordered[index + 1]}-" if more else ""
    return [], ""


def _quoted(word: str) -> str:
    return '"' + word.replace('"', " ").strip() + '"'


def _fits(asked: Asked, row: EventRow) -> bool:
    to, tag = asked.recipient.strip().lower(), asked.tag
    return (not to or row.recipient.lower() == to) and (not tag or tag in row.tags)


def _loaded(event_ids: Sequence[int]) -> list[EventRow]:
    found = event_rows.load(event_ids)
    return [found[id_] for id_ in event_ids if id_ in found]
