"""Events that match a query: candidates from the index, newest message first, judged by their texts."""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway import errors
from gateway.services import event_texts, search_index, search_plan
from gateway.services.event_query import Node, words
from gateway.services.event_range import BY_ID, BY_MESSAGE, DISORDER_MS, INT64, MESSAGES_BY_ID, Wanted, id_at
from gateway.services.search_plan import MAYBE, SURE, Found, Plan
from models import database as db

COUNTED_MOST = 10_000
"""Up to here the total of a query is exact."""

_BUDGET_S = 0.03  # of one query, looked at between blocks
_FIRST, _MESSAGES = 128, 256  # messages of a block
_EVENTS = 20_000
_TAIL = 2000  # events that the index does not know yet and that are looked through
_LOOKED = 200  # events between two looks at the clock
_CURSOR = re.compile(r"(\d{1,18})-(\d{1,18})\Z", re.ASCII)

_Block = tuple[Found, int]  # candidates, and the id that all later ones are below
_Event = tuple[Any, ...]  # id, message id, delivery id, EVENT_COLUMNS


@dataclass
class Matches:
    """`cursor` says where to go on when `partial`: the budget ended the search before the end."""

    total: int = 0
    ids: list[int] = field(default_factory=list)
    partial: bool = False
    cursor: str = ""


def read_cursor(text: str) -> tuple[int, int]:
    """Message and event after which to go on; raises `Invalid`."""
    found = _CURSOR.match(text.strip())
    if found is None:
        raise errors.Invalid("'Cursor' should be one that an answer gave", field="Cursor")
    return int(found[1]), int(found[2])


def matching(
    wanted: Wanted,
    node: Node,
    *,
    domain_name: str,
    message_id: int | None = None,
    cursor: str = "",
    counted_most: int = COUNTED_MOST,
) -> Matches:
    """The matching events of the domain, or of one message of it, after the cursor.

    The total ends at `counted_most`, or with the page where that is later.
    """
    deadline = time.monotonic() + _BUDGET_S
    after = read_cursor(cursor) if cursor else (INT64, 0)
    short = False
    if message_id is not None:
        blocks: Iterator[_Block] = iter([({message_id: MAYBE}, 0)])
    else:
        before = min(after[0] + 1, INT64)
        if wanted.to_ms is not None:
            before = min(before, id_at(wanted.domain_id, wanted.to_ms + DISORDER_MS, "message"))
        own = frozenset(words(domain_name))
        plan = search_plan.make(wanted.domain_id, own, node, wanted.kinds)
        if plan is None:
            blocks = _walk(wanted.domain_id, before)
        else:
            tail, short = _tail(wanted.domain_id, before)
            blocks = _merged(plan, tail, before)
    matches = _Search(wanted, node, deadline, counted_most).through(blocks, after)
    if short and not matches.partial and matches.total < counted_most:
        matches.partial = True
    return matches


def _walk(domain_id: int, before: int) -> Iterator[_Block]:
    """The domain's messages, newest first."""
    limit = _FIRST
    while True:
        rows = db.rows(
            f"SELECT id FROM message {MESSAGES_BY_ID[db.dialect()]} WHERE domain_id = ? AND id < ?"
            " ORDER BY id DESC LIMIT ?",
            (domain_id, before, limit),
        )
        before = rows[-1][0] if len(rows) == limit else 0
        yield dict.fromkeys((row[0] for row in rows), MAYBE), before
        if not before:
            return
        limit = _MESSAGES


def _tail(domain_id: int, before: int) -> tuple[list[int], bool]:
    """Messages with events that the index does not know yet, newest first; whether there are too many to look at."""
    rows = db.rows(
        f"SELECT message_id FROM event {BY_ID[db.dialect()]} WHERE domain_id = ? AND id > ? ORDER BY id DESC LIMIT ?",
        (domain_id, search_index.indexed_to(), _TAIL + 1),
    )
    return sorted({row[0] for row in rows[:_TAIL] if row[0] < before}, reverse=True), len(rows) > _TAIL


def _merged(plan: Plan, tail: list[int], before: int) -> Iterator[_Block]:
    """The plan's candidates and the tail's, which are looked through whole."""
    limit, at = _FIRST, 0
    while True:
        found, below = plan.block(before, limit)
        upto = at
        while upto < len(tail) and tail[upto] >= below and upto - at < _MESSAGES:
            upto += 1
        if upto < len(tail) and tail[upto] >= below:  # more of the tail than fits: the block ends here
            below = tail[upto] + 1
            found = {message: where for message, where in found.items() if message >= below}
        for message in tail[at:upto]:
            if found.get(message) != SURE:
                found[message] = MAYBE
        at, before, limit = upto, below, _MESSAGES
        yield found, below
        if not below:
            return


@dataclass
class _Search:
    wanted: Wanted
    node: Node
    deadline: float
    counted_most: int
    matches: Matches = field(default_factory=Matches)
    messages: dict[int, event_texts.Message] = field(default_factory=dict)

    def through(self, blocks: Iterator[_Block], after: tuple[int, int]) -> Matches:
        """Look through block after block until the end, the count or the budget."""
        for found, below in blocks:
            if not self._block({message: found[message] for message in found if message <= after[0]}, after):
                break
            if below and self._late():
                self._stop(f"{below - 1}-0")
                break
        return self.matches

    @property
    def _full(self) -> bool:
        return len(self.matches.ids) >= self.wanted.count

    @property
    def _counted(self) -> bool:
        return self._full and self.matches.total >= max(self.counted_most, self.wanted.start + self.wanted.count)

    def _late(self) -> bool:
        return time.monotonic() > self.deadline

    def _stop(self, cursor: str) -> None:
        """Out of time. Where the page is full, the next one begins behind it."""
        self.matches.partial = True
        self.matches.cursor = self.matches.cursor or cursor

    def _block(self, found: Found, after: tuple[int, int]) -> bool:
        """False when the search ends inside of it."""
        self._judge_messages(found)
        sure = [message for message, where in found.items() if where == SURE]
        if len(sure) == len(found) and sure and after[0] not in found and self._skip(sure):
            return not self._counted
        streams = [
            self._events(sure, after, event_texts_too=False),
            self._events([message for message, where in found.items() if where == MAYBE], after),
            self._of_deliveries({m: where for m, where in found.items() if isinstance(where, frozenset)}, after),
        ]
        for looked, event in enumerate(heapq.merge(*streams, key=lambda event: (-event[1], event[0])), 1):
            if len(event) == 2 or self._matches(event):
                self._take(event)
                if self._counted:
                    return False
            if looked % _LOOKED == 0 and self._late():
                self._stop(f"{event[1]}-{event[0]}")
                return False
        return True

    def _judge_messages(self, found: Found) -> None:
        """Read the texts of what is not sure; leave out what cannot match, whatever its events say."""
        self.messages = {}
        primary = " FORCE INDEX (PRIMARY)" if db.dialect() == "mysql" else ""
        unsure = [message for message, where in found.items() if where != SURE]
        for start in range(0, len(unsure), _MESSAGES):
            some = unsure[start : start + _MESSAGES]
            for id_, *columns in db.rows(
                f"SELECT id, {event_texts.MESSAGE_COLUMNS} FROM message{primary}"
                f" WHERE id IN ({', '.join('?' * len(some))})",
                some,
            ):
                self.messages[id_] = event_texts.of_message(*columns)
        for message in unsure:
            verdict = self.node.judge(self.messages[message][0]) if message in self.messages else False
            if verdict is False:
                del found[message]
            elif verdict and found[message] == MAYBE:
                found[message] = SURE

    def _matches(self, event: _Event) -> bool:
        texts, headers = self.messages[event[1]]
        return bool(self.node.judge(texts | event_texts.of_event(event[3:], headers)))

    def _take(self, event: _Event) -> None:
        if self.matches.total >= self.wanted.start and not self._full:
            self.matches.ids.append(event[0])
            if self._full:
                self.matches.cursor = f"{event[1]}-{event[0]}"
        self.matches.total += 1

    def _skip(self, messages: list[int]) -> bool:
        """Count a block that is sure to match without reading it, where no event of it is on the page."""
        if not self._full and self.matches.total + len(messages) > self.wanted.start:
            return False
        where, values = self.wanted.where()
        n = int(
            db.rows(
                f"SELECT COUNT(*) FROM event {BY_MESSAGE[db.dialect()]}"
                f" WHERE message_id IN ({', '.join('?' * len(messages))}) AND domain_id = ?{where}",
                (*messages, self.wanted.domain_id, *values),
            )[0][0]
        )
        if not self._full and self.matches.total + n > self.wanted.start:
            return False
        self.matches.total += n
        return True

    def _events(self, messages: list[int], after: tuple[int, int], *, event_texts_too: bool = True) -> Iterator[_Event]:
        """Events of these messages in the order of the messages, each message's in their own order."""
        dialect = db.dialect()
        straight = "STRAIGHT_JOIN " if dialect == "mysql" else ""
        columns, joins = "e.id, e.message_id", ""
        if event_texts_too:
            columns += f", e.delivery_id, {event_texts.EVENT_COLUMNS}"
            joins = event_texts.EVENT_JOINS
        where, values = self.wanted.where("e.")
        while messages:
            rows = db.rows(
                f"SELECT {straight}{columns} FROM event e {BY_MESSAGE[dialect]} {joins}"
                f" WHERE e.message_id IN ({', '.join('?' * len(messages))}) AND e.domain_id = ?"
                f" AND NOT (e.message_id = ? AND e.id <= ?){where} ORDER BY e.message_id DESC, e.id LIMIT ?",
                (*messages, self.wanted.domain_id, *after, *values, _EVENTS),
            )
            yield from rows
            if len(rows) < _EVENTS:
                return
            after = (rows[-1][1], rows[-1][0])
            messages = [id_ for id_ in messages if id_ <= after[0]]

    def _of_deliveries(self, found: dict[int, frozenset[int]], after: tuple[int, int]) -> Iterator[_Event]:
        """Events of these deliveries, in the same order."""
        straight = "STRAIGHT_JOIN " if db.dialect() == "mysql" else ""
        pairs = [(message, delivery) for message, deliveries in found.items() for delivery in deliveries]
        where, values = self.wanted.where("e.")
        rows: list[_Event] = []
        for start in range(0, len(pairs), 200):
            some = pairs[start : start + 200]
            source = " UNION ALL ".join(["SELECT ? AS m, ? AS d", *["SELECT ?, ?"] * (len(some) - 1)])
            rows += db.rows(
                f"SELECT {straight}e.id, e.message_id, e.delivery_id, {event_texts.EVENT_COLUMNS}"
                f" FROM ({source}) AS w CROSS JOIN event e {BY_MESSAGE[db.dialect()]} {event_texts.EVENT_JOINS}"
                " WHERE e.message_id = w.m AND e.delivery_id = w.d AND e.domain_id = ?"
                f" AND NOT (e.message_id = ? AND e.id <= ?){where}",
                (*[value for pair in some for value in pair], self.wanted.domain_id, *after, *values),
            )
        return iter(sorted(rows, key=lambda row: (-row[1], row[0])))
