"""How a query is answered from the index: which postings are united and intersected, newest messages first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gateway.services import search_terms
from gateway.services.event_query import FIELDS, And, Node, Not, Term
from models import database as db

SURE, MAYBE = 1, 0
Where = int | frozenset[int]
"""Where in a message to look: everywhere and it all matches, everywhere, or in these deliveries."""

Found = dict[int, Where]  # by message
_COUNTED = 1001  # of a term, to find the rarest
_HOSTS = 64  # of the dictionary that a word may stand for
_PROBED = 5000  # postings read for one block; a message with more is looked through whole
_PRIMARY = {"sqlite": "", "mysql": " FORCE INDEX (PRIMARY)"}


@dataclass(frozen=True)
class Leaf:
    """The postings of one term; with `sure` those of whole messages are matches, not candidates."""

    domain_id: int
    term: int
    sure: bool = False

    @cached_property
    def size(self) -> int:
        """How many postings there are, counted up to a thousand."""
        return int(
            db.rows(
                f"SELECT COUNT(*) FROM (SELECT 1 FROM search_term{_PRIMARY[db.dialect()]}"
                " WHERE domain_id = ? AND term = ? LIMIT ?) AS some",
                (self.domain_id, self.term, _COUNTED),
            )[0][0]
        )

    def block(self, before: int, limit: int) -> tuple[Found, int]:
        """About `limit` messages below `before`, and what is below of them: 0 at the end."""
        rows = db.rows(
            f"SELECT message_id, delivery_id FROM search_term{_PRIMARY[db.dialect()]}"
            " WHERE domain_id = ? AND term = ? AND message_id < ? ORDER BY message_id DESC, delivery_id DESC LIMIT ?",
            (self.domain_id, self.term, before, limit),
        )
        if len(rows) < limit:
            return self._gathered(rows), 0
        last = rows[-1][0]
        if last == rows[0][0]:
            return {last: MAYBE}, last
        return self._gathered([row for row in rows if row[0] != last]), last + 1

    def probe(self, messages: Sequence[int]) -> Found:
        """Those of the messages that have the term."""
        if not messages:
            return {}
        rows = db.rows(
            f"SELECT message_id, delivery_id FROM search_term{_PRIMARY[db.dialect()]}"
            f" WHERE domain_id = ? AND term = ? AND message_id IN ({','.join('?' * len(messages))}) LIMIT ?",
            (self.domain_id, self.term, *messages, _PROBED),
        )
        return self._gathered(rows) if len(rows) < _PROBED else dict.fromkeys(messages, MAYBE)

    def _gathered(self, rows: Sequence[tuple[Any, ...]]) -> Found:
        found: Found = {}
        for message_id, delivery_id in rows:
            have = found.get(message_id)
            if not delivery_id:
                found[message_id] = SURE if self.sure else MAYBE
            elif have is None:
                found[message_id] = frozenset((delivery_id,))
            elif isinstance(have, frozenset):
                found[message_id] = have | {delivery_id}
        return found


@dataclass(frozen=True)
class Every:
    """What all parts have and nothing of `without`; not `sure`: candidates at best (the words of a phrase)."""

    parts: tuple[Plan, ...]
    sure: bool = True
    without: tuple[Leaf, ...] = ()  # sure ones only: whatever has such a term is no match

    @cached_property
    def _ordered(self) -> list[Plan]:
        return sorted(self.parts, key=lambda part: part.size) if len(self.parts) > 1 else list(self.parts)

    def _left(self, found: Found) -> Found:
        """`found` but for what has a term that it must not have."""
        for leaf in self.without:
            bad = leaf.probe(sorted(found))
            found = {
                message: MAYBE if where == SURE and message in bad else where
                for message, where in found.items()
                if bad.get(message) != SURE
            }
        return found

    @property
    def size(self) -> int:
        return self._ordered[0].size

    def block(self, before: int, limit: int) -> tuple[Found, int]:
        found, below = self._ordered[0].block(before, limit)
        return self._narrowed(found, self._ordered[1:]), below

    def probe(self, messages: Sequence[int]) -> Found:
        return self._narrowed(self._ordered[0].probe(messages), self._ordered[1:])

    def _narrowed(self, found: Found, parts: Sequence[Plan]) -> Found:
        for part in parts:
            if not found:
                return found
            other = part.probe(sorted(found))
            found = {
                message: where
                for message in found.keys() & other.keys()
                if (where := _both(found[message], other[message])) != frozenset()
            }
        found = self._left(found)
        return found if self.sure else {m: MAYBE if where == SURE else where for m, where in found.items()}


@dataclass(frozen=True)
class Some:
    """What any part has."""

    parts: tuple[Plan, ...]

    @cached_property
    def _filled(self) -> list[Plan]:
        return [part for part in self.parts if part.size]

    @cached_property
    def size(self) -> int:
        return sum(part.size for part in self._filled)

    def block(self, before: int, limit: int) -> tuple[Found, int]:
        blocks = [part.block(before, limit) for part in self._filled]
        below = max((below for _, below in blocks), default=0)  # what is above it, every part has told
        found: Found = {}
        for some, _ in blocks:
            for message, where in some.items():
                if message >= below:
                    found[message] = _either(found[message], where) if message in found else where
        return found, below

    def probe(self, messages: Sequence[int]) -> Found:
        found: Found = {}
        for part in self._filled:
            for message, where in part.probe(messages).items():
                found[message] = _either(found[message], where) if message in found else where
        return found


Plan = Leaf | Every | Some


def make(domain_id: int, own: Collection[str], node: Node, kinds: Collection[int]) -> Plan | None:
    """The plan whose candidates include every match; None where the index does not narrow the search.

    `own` are the words of the domain's name, `kinds` those that are asked for (() is all).
    """
    plan = _Maker(domain_id, own).of(node)
    terms = [search_terms.of_kind(kind) for kind in kinds]
    rare = [Leaf(domain_id, term) for term in terms if term is not None]
    if not kinds or len(rare) < len(terms):
        return plan
    some = Some(tuple(rare))
    return some if plan is None else Every((plan, some))


@dataclass(frozen=True)
class _Maker:
    domain_id: int
    own: Collection[str]

    def of(self, node: Node) -> Plan | None:
        if isinstance(node, Term):
            if node.field:
                return self._term(node.field, node)
            return self._some([self._term(field, node) for field in FIELDS])
        if isinstance(node, Not):
            return None
        if isinstance(node, And):
            barred = [self._barred(part) for part in node.parts]
            parts = [self.of(part) for part, leaf in zip(node.parts, barred, strict=True) if leaf is None]
            there = tuple(part for part in parts if part is not None)
            without = tuple(leaf for leaf in barred if leaf is not None)
            return Every(there, len(there) == len(parts), without) if there else None
        parts = [self.of(part) for part in node.parts]
        return self._some(parts)

    def _barred(self, node: Node) -> Leaf | None:
        """The postings of what a NOT excludes, where these say it all."""
        if not isinstance(node, Not) or not isinstance(node.part, Term) or not node.part.field:
            return None
        plan = self._term(node.part.field, node.part)
        return plan if isinstance(plan, Leaf) and plan.sure else None

    @staticmethod
    def _some(parts: Sequence[Plan | None]) -> Plan | None:
        there = tuple(part for part in parts if part is not None)
        return Some(there) if len(there) == len(parts) else None

    def _term(self, field: str, term: Term) -> Plan | None:
        if field in ("tag", "ip"):
            number = search_terms.number(field, " ".join(term.words))
            return None if term.prefix else Leaf(self.domain_id, number, sure=field == "tag")
        whole = term.words[:-1] if term.prefix else term.words
        held = [word for word in whole if search_terms.held(field, word, self.own)]
        if not held:
            return None
        if field == "mx":
            return self._hosts(held)
        alone = field in ("subject", "from") and len(term.words) == 1
        leaves = [Leaf(self.domain_id, search_terms.number(field, word), sure=alone) for word in dict.fromkeys(held)]
        return leaves[0] if len(leaves) == 1 else Every(tuple(leaves), sure=False)

    def _hosts(self, held: Sequence[str]) -> Plan | None:
        """The hosts whose names have the words, as far as these are few."""
        found: set[int] | None = None
        for word in held:
            rows = db.rows(
                f"SELECT message_id FROM search_term{_PRIMARY[db.dialect()]} WHERE domain_id = 0 AND term = ? LIMIT ?",
                (search_terms.number("mx", word), _COUNTED),
            )
            if len(rows) < _COUNTED:
                some = {row[0] for row in rows}
                found = some if found is None else found & some
        if found is None or len(found) > _HOSTS:
            return None
        return Some(tuple(Leaf(self.domain_id, search_terms.of_mx(mx_id)) for mx_id in sorted(found)))


def _both(one: Where, other: Where) -> Where:
    if isinstance(one, frozenset):
        return one & other if isinstance(other, frozenset) else one
    return other if isinstance(other, frozenset) else min(one, other)


def _either(one: Where, other: Where) -> Where:
    if isinstance(one, frozenset):
        return one | other if isinstance(other, frozenset) else other
    return one if isinstance(other, frozenset) else max(one, other)
