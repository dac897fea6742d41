"""The limit of senders that begin small, where deliveries are claimed: who has no place today waits for tomorrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from gateway import clock, ids
from gateway.services import warmups
from gateway.services.lanes import ROUTE_TEST, Claimed, PutOff
from models import database as db

TRUST_MS = 2_000
"""How old what a process knows of who is warmed up may be."""
SPREAD_MS = 30 * 60_000
"""What waits for tomorrow is due within that time of its beginning."""

_SOON_MS = 2_000


@dataclass(slots=True)
class _Known:
    """Who is warmed up: mailboxes by domain and address, and the source addresses that mail leaves from."""

    owner: object = None
    at_ms: int = 0
    mailboxes: dict[int, dict[str, int]] = field(default_factory=dict)
    sources: list[tuple[int, str]] = field(default_factory=list)


class Gate:
    """One of each process."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._own = frozenset(sources)
        self._known = _Known()

    def hold(self, rows: Sequence[Claimed], groups: Mapping[int, str]) -> list[PutOff]:
        """Those of a batch that have to wait; `groups` are the providers of what leaves directly, by delivery.

        A provider is '' while it is being looked up.

        Where nobody is warmed up it costs a small query every two seconds, and no other.
        """
        known = self._look()
        if not known.mailboxes and not known.sources:
            return []
        rows = [row for row in rows if row.route != ROUTE_TEST]
        waiting: dict[int, tuple[Claimed, str]] = {}
        looked_up: dict[int, Claimed] = {}
        for warmup_id, name, some in self._of_mailboxes(known, rows):
            self._grant(warmup_id, name, some, "", waiting)
        for warmup_id, source in known.sources:
            by_group: dict[str, list[Claimed]] = {}
            for row in rows:
                if groups.get(row.id) == "":
                    looked_up[row.id] = row
                elif row.id in groups and row.id not in waiting:
                    by_group.setdefault(groups[row.id], []).append(row)
            for group, some in by_group.items():
                self._grant(warmup_id, f"{source} towards {group}", some, group, waiting)
        soon = clock.now_ms() + _SOON_MS
        return [_put_off(row, cause) for row, cause in waiting.values()] + [
            _put_off(row, "its mail exchangers are being looked up", soon)
            for row in looked_up.values()
            if row.id not in waiting
        ]

    def _look(self) -> _Known:
        now = clock.now_ms()
        if self._known.owner is db.database.obj and 0 <= now - self._known.at_ms < TRUST_MS:
            return self._known
        found = _Known(db.database.obj, now)
        for warmup_id, domain_id, source, provider, local, name in db.rows(
            "SELECT w.id, w.domain_id, w.source, w.provider, b.local, d.name FROM warmup w"
            " LEFT JOIN mailbox b ON b.id = w.mailbox_id LEFT JOIN sender_domain d ON d.id = w.domain_id"
            " WHERE w.done_ms IS NULL"
        ):
            if source:
                if source in self._own and not provider:
                    found.sources.append((warmup_id, source))
            elif local and name:
                found.mailboxes.setdefault(domain_id, {})[f"{local}@{name}"] = warmup_id
        self._known = found
        return found

    def _of_mailboxes(self, known: _Known, rows: Sequence[Claimed]) -> list[tuple[int, str, list[Claimed]]]:
        mine = [row for row in rows if row.domain_id in known.mailboxes]
        if not mine:
            return []
        wanted = sorted({row.message_id for row in mine})
        senders = dict(
            db.rows(f"SELECT id, from_addr FROM message WHERE id IN ({','.join('?' * len(wanted))})", wanted)
        )
        found: dict[int, tuple[int, str, list[Claimed]]] = {}
        for row in mine:
            address = str(senders.get(row.message_id, "")).lower()
            warmup_id = known.mailboxes[row.domain_id].get(address)
            if warmup_id is not None:
                found.setdefault(warmup_id, (warmup_id, address, []))[2].append(row)
        return list(found.values())

    def _grant(
        self, warmup_id: int, name: str, rows: list[Claimed], provider: str, waiting: dict[int, tuple[Claimed, str]]
    ) -> None:
        granted = warmups.grant(warmup_id, [row.id for row in rows], provider=provider)
        cause = f"warm-up of {name}: the {granted.limit} messages of today are used up"
        waiting |= {row.id: (row, cause) for row in rows if row.id not in granted.ids}


def _put_off(row: Claimed, cause: str, due_ms: int | None = None) -> PutOff:
    tomorrow = (clock.day_number(clock.now_ms()) + 1) * clock.DAY_MS
    until_ms = due_ms or tomorrow
    due_ms = due_ms or tomorrow + round(SPREAD_MS / 2 * ids.jitter(1.0))
    verdict = {"gate": "shaping", "limit": None, "rule": "warmup", "until_ms": until_ms, "cause": cause}
    return PutOff(row, due_ms, orjson.dumps(verdict).decode(), cause)
