"""What a Mailmark key reads of its domain, or of all domains of the account: totals, suppressions, campaigns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from gateway import clock, errors, ids
from gateway.services import domains, sequences, statistics, suppressions, tallies
from gateway.services.enrolment_ends import ORIGIN
from gateway.services.identity import Caller
from gateway.services.statistics import RECIPIENTS, Period
from models import database as db
from models.vocabulary import EventKind, TallyFacet

BATCH_PREFIX = BATCH_ORIGIN = "bat"
SEQUENCE, BATCH, ALL = "sequence", "batch", "all"
MOST = 500
"""Campaigns of each type in one answer, the newest."""

Counts = dict[int, int]


@dataclass(frozen=True, slots=True)
class Named:
    """A domain that is asked about."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of a domain's mail in some days; by event kind, and `sent` recipients."""

    domain: Named
    sent: int
    counts: Counts


@dataclass(frozen=True, slots=True)
class Left:
    """Somebody on the suppression list; `listed_ms` is that of nobody else of the account."""

    email: str
    listed_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    domain: Named
    total: int
    has_more: bool
    items: list[Left]


@dataclass(frozen=True, slots=True)
class Campaign:
    """A sequence or a batch with what became of its messages; `firsts` count each recipient once."""

    type: str
    public_id: str
    name: str
    domain: Named
    status: str
    sent: int
    created_ms: int
    counts: Counts = field(default_factory=dict)
    firsts: Counts = field(default_factory=dict)


def origin_of(uuid: UUID) -> str:
    """The origin that the messages of a batch bear."""
    return f"{BATCH_ORIGIN}:{uuid.hex}"


def chosen(*, caller: Caller, name: str = "") -> list[Named]:
    """The key's domain, or those of the account; of these the one with that name. Raises `NotFound`."""
    if name:
        found = domains.find_by_name(caller=caller, name=name)
        return [Named(found.id, found.name)]
    listed = [Named(one.id, one.name) for one in domains.list_(caller=caller)]
    if not listed and caller.domain_id is not None:
        raise errors.NotFound("There is no such sender domain.", what="domain")
    return listed


def totals(*, caller: Caller, name: str, days: int) -> list[Totals]:
    """Of each domain in the last `days` days, today among them."""
    today = clock.day_number(clock.now_ms())
    found = []
    for domain in chosen(caller=caller, name=name):
        counts = statistics.of_domain(caller=caller, domain_id=domain.id, days=Period(today - days + 1, today)).counts
        unsent = counts.get(EventKind.SUPPRESSED, 0) + counts.get(EventKind.CANCELED, 0)
        found.append(Totals(domain, max(0, counts.get(RECIPIENTS, 0) - unsent), counts))
    return found


def left(*, caller: Caller, name: str, after_ms: int, count: int) -> list[Page]:
    """Of each domain who must not be written to, as it came, behind `after_ms`; what holds for the account too."""
    return [_page(caller, domain, after_ms, count) for domain in chosen(caller=caller, name=name)]


def _page(caller: Caller, domain: Named, after_ms: int, count: int) -> Page:
    where = "account_id = ? AND domain_id IN (?, ?) AND (expires_ms IS NULL OR expires_ms > ?)"
    params = (caller.account_id, domain.id, suppressions.WHOLE_ACCOUNT, clock.now_ms())
    total = db.rows(f"SELECT COUNT(*) FROM suppression WHERE {where}", params)[0][0]
    rows = db.rows(
        f"SELECT address, listed_ms, reason FROM suppression WHERE {where} AND listed_ms > ?"
        " ORDER BY listed_ms LIMIT ?",
        (*params, after_ms, count + 1),
    )
    return Page(domain, int(total), len(rows) > count, [Left(*row) for row in rows[:count]])


def campaigns(
    *, caller: Caller, type_: str = ALL, sequence_id: str = "", batch_id: str = "", name: str = ""
) -> list[Campaign]:
    """Sequences and batches, the newest first; raises `NotFound` for an id or a domain that is not the caller's."""
    those = {domain.id: domain for domain in chosen(caller=caller, name=name)}
    found: dict[str, Campaign] = {}
    if type_ in (ALL, SEQUENCE) and not (batch_id and not sequence_id):
        found |= _sequences(caller, those, sequence_id)
    if type_ in (ALL, BATCH) and not (sequence_id and not batch_id):
        found |= _batches(caller, those, batch_id)
    _count(found)
    return sorted(found.values(), key=lambda one: one.created_ms, reverse=True)


def _sequences(caller: Caller, those: dict[int, Named], wanted: str) -> dict[str, Campaign]:
    where, params = _scope(caller, those, wanted, sequences.PREFIX, "sequence")
    rows = db.rows(
        f"SELECT id, uuid, domain_id, name, status, sent, created_ms FROM sequence WHERE {where}"
        " ORDER BY id DESC LIMIT ?",
        (*params, MOST),
    )
    if wanted and not rows:
        raise errors.NotFound("There is no such sequence.", what="sequence")
    return {
        tallies.name(ORIGIN, id_): Campaign(
            SEQUENCE, ids.public_id(sequences.PREFIX, UUID(bytes=bytes(uuid))), text, those[domain_id], status,
            int(sent), created_ms,
        )
        for id_, uuid, domain_id, text, status, sent, created_ms in rows
    }  # fmt: skip


def _batches(caller: Caller, those: dict[int, Named], wanted: str) -> dict[str, Campaign]:
    where, params = _scope(caller, those, wanted, BATCH_PREFIX, "batch")
    rows = db.rows(
        f"SELECT uuid, domain_id, subject, recipients, send_at_ms, created_ms FROM batch WHERE {where}"
        " ORDER BY id DESC LIMIT ?",
        (*params, MOST),
    )
    if wanted and not rows:
        raise errors.NotFound("There is no such batch.", what="batch")
    now = clock.now_ms()
    found = {}
    for uuid_bytes, domain_id, subject, recipients, send_at_ms, created_ms in rows:
        uuid = UUID(bytes=bytes(uuid_bytes))
        status = "scheduled" if send_at_ms is not None and send_at_ms > now else "sent"
        found[origin_of(uuid)] = Campaign(
            BATCH, ids.public_id(BATCH_PREFIX, uuid), subject, those[domain_id], status, recipients, created_ms
        )
    return found


def _scope(caller: Caller, those: dict[int, Named], wanted: str, prefix: str, what: str) -> tuple[str, tuple[Any, ...]]:
    where = f"account_id = ? AND domain_id IN ({','.join('?' * len(those)) or 'NULL'})"
    params: tuple[Any, ...] = (caller.account_id, *those)
    if wanted:
        uuid = ids.uuid_of(prefix, wanted)
        if uuid is None:
            raise errors.NotFound(f"There is no such {what}.", what=what)
        where, params = f"{where} AND uuid = ?", (*params, uuid.bytes)
    return where, params


def _count(found: dict[str, Campaign]) -> None:
    """Read the roll-ups: a few rows for each campaign, whatever it has sent."""
    names: Sequence[str] = list(found)
    for start in range(0, len(names), 200):
        some = names[start : start + 200]
        for origin, facet, kind, n in db.rows(
            f"SELECT origin, facet, kind, n FROM tally WHERE origin IN ({','.join('?' * len(some))})"
            " AND facet IN (?, ?) AND value = ''",
            (*some, int(TallyFacet.ALL), int(TallyFacet.FIRST)),
        ):
            one = found[origin]
            (one.counts if facet == TallyFacet.ALL else one.firsts)[kind] = int(n)
