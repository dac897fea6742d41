"""Events of a domain counted by any of their fields: from the roll-ups, or by a bounded walk where none exists."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors
from gateway.services import domains, event_range, event_texts, event_words, statistics
from gateway.services.event_range import BY_ID, INT64
from gateway.services.identity import Caller
from gateway.services.statistics import Period
from models import database as db
from models.vocabulary import EventKind, FacetKind

_BUDGET_S = 0.03
_WALKED = 1000  # events read at once
Buckets = tuple[list[tuple[str, int]], bool]
"""Values and how many events have them, the most frequent first; whether only the newest events were counted."""

_FACETS = {
    "recipientdomain": FacetKind.RECIPIENT_DOMAIN,
    "domain": FacetKind.RECIPIENT_DOMAIN,
    "mx": FacetKind.MX,
    "response": FacetKind.RESPONSE,
    "reason": FacetKind.RESPONSE,
    "reply": FacetKind.RESPONSE,
    "category": FacetKind.CATEGORY,
    "code": FacetKind.CODE,
    "enhancedcode": FacetKind.ENHANCED,
    "enhanced": FacetKind.ENHANCED,
    "transport": FacetKind.TRANSPORT,
    "verdict": FacetKind.VERDICT,
    "url": FacetKind.URL,
    "link": FacetKind.URL,
    "device": FacetKind.DEVICE,
    "devicekind": FacetKind.DEVICE_KIND,
    "devicetype": FacetKind.DEVICE_KIND,
    "client": FacetKind.CLIENT,
    "mailclient": FacetKind.CLIENT,
}
_LEVELS = {EventKind.DEFERRED: "warn", EventKind.SUPPRESSED: "warn", EventKind.COMPLAINED: "warn"}
_LEVELS |= {EventKind.BOUNCED: "error", EventKind.FAILED: "error"}
_KINDS: dict[str, Callable[[EventKind], str]] = {
    "eventtype": event_words.short,
    "type": event_words.short,
    "event": event_words.long,
    "kind": lambda kind: kind.word,
    "bouncetype": lambda kind: {EventKind.BOUNCED: "Permanent", EventKind.FAILED: "Transient"}.get(kind, ""),
    "loglevel": lambda kind: _LEVELS.get(kind, "info"),
}
_DAYS = frozenset({"day", "date", "timestamp", "eventtimestamp", "loggedat"})
_TAGS = frozenset({"tag", "tags"})

_Row = tuple[Any, ...]  # at_ms, rcpt, ip, data, uuid, then the message's columns


def _data(name: str) -> Callable[[_Row], str]:
    return lambda row: str((orjson.loads(row[3]) if row[3] else {}).get(name) or "")


def _recipient(row: _Row) -> str:
    return row[1] or next(iter(event_texts.recipients(orjson.loads(row[8] or "{}"))), "")


_WALKS: dict[str, Callable[[_Row], str]] = {
    "hour": lambda row: f"{row[0] // 3_600_000 % 24:02d}",
    "recipient": _recipient,
    "to": _recipient,
    "ip": lambda row: str(row[2]),
    "ipaddress": lambda row: str(row[2]),
    "useragent": _data("user_agent"),
    "messageid": lambda row: str(UUID(bytes=bytes(row[4]))),
    "subject": lambda row: str(row[5]),
    "from": lambda row: str(row[6]),
    "sender": lambda row: str(row[6]),
}
FIELDS = (
    "eventType", "event", "bounceType", "logLevel", "day", "hour", "tag", "recipientDomain", "recipient", "mx",
    "response", "category", "code", "enhancedCode", "transport", "verdict", "url", "device", "deviceKind", "client",
    "ip", "userAgent", "messageId", "subject", "from",
)  # fmt: skip
"""What events can be counted by; case, `_` and `-` in a name make no difference."""


def buckets(*, caller: Caller, domain_id: int, field: str = "", size: int = 10, days: Period) -> Buckets:
    """The `size` most frequent values of a field (by default the event's type); raises `NotFound`, `Invalid`.

    Fields without a roll-up, whose values are without number, are counted over the newest events of the
    period as far as the budget goes.
    """
    name = re.sub(r"[\s_-]", "", field).lower() or "eventtype"
    if not (name in _KINDS or name in _FACETS or name in _WALKS or name in _DAYS or name in _TAGS):
        raise errors.Invalid("'AggregatedField' should be one of " + ", ".join(FIELDS), field="AggregatedField")
    domain = domains.find(caller=caller, domain_id=domain_id, past=True)
    counts: Counter[str] = Counter()
    partial = False
    if name in _KINDS:
        for (_, kind), n in statistics.by_day(domain.id, days).items():
            counts[_KINDS[name](EventKind(kind))] += n
    elif name in _DAYS:
        for (day, _), n in statistics.by_day(domain.id, days).items():
            counts[clock.rfc3339(day * clock.DAY_MS)[:10]] += n
    elif name in _TAGS:
        for tag, by_kind in statistics.by_tag(domain.id, days, [int(kind) for kind in EventKind]).items():
            counts[tag] = sum(by_kind.values())
    elif name in _FACETS:
        for value, _, n in statistics.facet_rows(domain.id, _FACETS[name], days):
            counts[value] += n
    else:
        partial = _walk(domain.id, days, _WALKS[name], counts)
    counts.pop("", None)
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:size]
    return (_replies(top) if _FACETS.get(name) is FacetKind.RESPONSE else top), partial


def _replies(top: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    if not top:
        return []
    texts = dict(
        db.rows(f"SELECT id, text FROM reply WHERE id IN ({','.join('?' * len(top))})", [int(v) for v, _ in top])
    )
    return [(str(texts.get(int(value), value)), n) for value, n in top]


def _walk(domain_id: int, days: Period, read: Callable[[_Row], str], counts: Counter[str]) -> bool:
    deadline = time.monotonic() + _BUDGET_S
    straight, primary = ("STRAIGHT_JOIN ", " FORCE INDEX (PRIMARY)") if db.dialect() == "mysql" else ("", "")
    from_ms, to_ms = days.first * clock.DAY_MS, (days.last + 1) * clock.DAY_MS - 1
    before = INT64
    if to_ms < clock.now_ms():
        before = event_range.id_at(domain_id, to_ms + event_range.DISORDER_MS)
    after = event_range.id_before(domain_id, from_ms - event_range.DISORDER_MS)
    while True:
        rows = db.rows(
            f"SELECT {straight}e.at_ms, e.rcpt, e.ip, e.data, m.uuid, m.subject, m.from_addr, m.tags, m.headers, e.id"
            f" FROM (SELECT id FROM event {BY_ID[db.dialect()]} WHERE domain_id = ? AND id < ? AND id >= ?"
            f" ORDER BY id DESC LIMIT ?) AS some JOIN event e{primary} ON e.id = some.id"
            f" JOIN message m{primary} ON m.id = e.message_id",
            (domain_id, before, after, _WALKED),
        )
        for row in rows:
            if from_ms <= row[0] <= to_ms:
                counts[read(row)] += 1
        if len(rows) < _WALKED:
            return False
        before = min(row[9] for row in rows)
        if time.monotonic() > deadline:
            return True
