"""What came of the messages of one origin, a campaign say: counted with their events, read without them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gateway import clock
from gateway.services import roll_ups
from models import database as db
from models.vocabulary import EventKind, TallyFacet

if TYPE_CHECKING:
    from gateway.services.ledger import Fact

CAMPAIGN, AUTOMATION = "cmp", "aut"

_KEY = ("origin", "facet", "value", "kind")
_LENGTH = 190
_ONCE_A_MESSAGE = EventKind.ACCEPTED

Counts = dict[int, int]
"""Events by kind."""


def name(noun: str, number: int) -> str:
    """The origin that a message of the campaign or automation bears."""
    return f"{noun}:{number}"


def count(tx: db.Transaction, facts: Sequence[Fact]) -> None:
    """Part of `ledger.record`."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for fact in facts:
        if fact.origin is None or fact.kind is _ONCE_A_MESSAGE:
            continue
        origin, kind = fact.origin, int(fact.kind)
        counts[(origin, int(TallyFacet.ALL), "", kind)] += 1
        counts[(origin, int(TallyFacet.HOUR), str(fact.at_ms // clock.HOUR_MS), kind)] += 1
        domain = fact.rcpt.rpartition("@")[2].lower()
        if domain:
            counts[(origin, int(TallyFacet.RECIPIENT_DOMAIN), domain[:_LENGTH], kind)] += 1
        if fact.kind is EventKind.CLICKED and fact.data and fact.data.get("url"):
            counts[(origin, int(TallyFacet.URL), str(fact.data["url"])[:_LENGTH], kind)] += 1
        for facet in fact.firsts:
            counts[(origin, int(facet), "", kind)] += 1
    if counts:
        roll_ups.add(tx, "tally", _KEY, counts)


def totals(origin: str) -> dict[TallyFacet, Counts]:
    """Everything but what grows with the audience or the time: `ALL`, `FIRST` and `HUMAN`."""
    found: dict[TallyFacet, Counts] = {facet: {} for facet in (TallyFacet.ALL, TallyFacet.FIRST, TallyFacet.HUMAN)}
    for facet, kind, n in db.rows(
        "SELECT facet, kind, n FROM tally WHERE origin = ? AND facet IN (?, ?, ?) AND value = ''",
        (origin, *map(int, found)),
    ):
        found[TallyFacet(facet)][kind] = int(n)
    return found


def by_value(origin: str, facet: TallyFacet, *, most: int) -> list[tuple[str, Counts]]:
    """The values of a facet with their counts, the busiest first, at most `most`."""
    busiest = db.rows(
        "SELECT value FROM tally WHERE origin = ? AND facet = ? GROUP BY value ORDER BY SUM(n) DESC, value LIMIT ?",
        (origin, int(facet), most),
    )
    if not busiest:
        return []
    marks = ",".join("?" * len(busiest))
    found: defaultdict[str, Counts] = defaultdict(dict)
    for value, kind, n in db.rows(
        f"SELECT value, kind, n FROM tally WHERE origin = ? AND facet = ? AND value IN ({marks})",
        (origin, int(facet), *(value for (value,) in busiest)),
    ):
        found[value][kind] = int(n)
    return [(value, found[value]) for (value,) in busiest]


def by_hour(origin: str, *, most: int) -> list[tuple[int, Counts]]:
    """Hours since 1970 with their counts, in their order; the first `most`."""
    found: defaultdict[int, Counts] = defaultdict(dict)
    for value, kind, n in db.rows(
        "SELECT value, kind, n FROM tally WHERE origin = ? AND facet = ?", (origin, int(TallyFacet.HOUR))
    ):
        found[int(value)][kind] = int(n)
    return sorted(found.items())[:most]


def forget(tx: db.Transaction, origin: str) -> None:
    tx.execute("DELETE FROM tally WHERE origin = ?", (origin,))
