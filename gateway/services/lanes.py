"""Fair queues: which lane a delivery stands in, and how a worker takes the next batch from many."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway import clock, config, ids, jobs
from models import database as db
from models.vocabulary import DeliveryState, LaneKind, Stream

LEASE_MS = 60_000
"""How long a claim holds; the holder renews it while it works, so only a dead holder's runs out."""

BATCH = 100
LANES_A_CLAIM = 10

ROUTE_DEFAULT = ""  # COMMANDPOST_DELIVERY
ROUTE_TEST = "test"  # mail of test keys: captured, never sent

FOR_GOOD_MS = 2**62
"""Until when a lane is paused that somebody has to let go."""

_known: dict[tuple[int, int, int, str, int], int] = {}


def forget() -> None:
    """Drop the process's memory of lanes (another database was connected)."""
    _known.clear()


def lane_id(*, account_id: int, domain_id: int, stream: Stream, route: str, own: int = 0) -> int:
    """The lane of an account × domain × stream × route; made, in a transaction of its own, when it is new.

    `own` is the number of a campaign that has one to itself, beside the shared one.
    """
    key = (account_id, domain_id, int(stream), route, own)
    known = _known.get(key)
    if known is None:
        known = db.in_transaction(lambda tx: find_or_make(tx, key))
        if not own:  # the others are there for good
            _known[key] = known
    return known


def find_or_make(tx: db.Transaction, key: tuple[int, int, int, str, int]) -> int:
    """The lane of an account, domain, stream, route and campaign, within a transaction that may be taken back."""
    values = (int(LaneKind.DELIVER), *key)
    ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
    paused_until_ms, cause = _held(tx, key) if key[4] else (0, "")
    tx.execute(
        f"{ignore} INTO lane (kind, account_id, domain_id, stream, route, endpoint_id, paused_until_ms, cause)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, paused_until_ms, cause),
    )
    found = tx.rows(
        "SELECT id FROM lane WHERE kind=? AND account_id=? AND domain_id=? AND stream=? AND route=? AND endpoint_id=?",
        values,
    )
    return int(found[0][0])


def _held(tx: db.Transaction, key: tuple[int, int, int, str, int]) -> tuple[int, str]:
    """Until when the other lanes of a campaign are paused, and why: what comes into a new one waits like theirs."""
    found = tx.rows(
        f"SELECT paused_until_ms, cause FROM lane WHERE {_OWN} ORDER BY paused_until_ms DESC LIMIT 1",
        (int(LaneKind.DELIVER), key[0], key[1], key[4]),
    )
    return (found[0][0], found[0][1]) if found else (0, "")


def route_of(tx: db.Transaction, delivery_id: int) -> str:
    """The route of a live delivery's lane."""
    found = tx.rows("SELECT l.route FROM delivery d JOIN lane l ON l.id = d.lane_id WHERE d.id = ?", (delivery_id,))
    return str(found[0][0]) if found else ROUTE_DEFAULT


def move(tx: db.Transaction, delivery_ids: Sequence[int], route: str) -> None:
    """Put live deliveries into the lanes of another route, which are else the same as theirs."""
    some = sorted(delivery_ids)
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    by_lane: dict[int, list[int]] = {}
    for delivery_id, lane in tx.rows(
        f"SELECT id, lane_id FROM delivery WHERE id IN ({','.join('?' * len(some))}) AND lane_id IS NOT NULL"
        f" ORDER BY id{lock}",
        some,
    ):
        by_lane.setdefault(lane, []).append(delivery_id)
    for lane, ids_ in by_lane.items():
        account_id, domain_id, stream, own, before = tx.rows(
            "SELECT account_id, domain_id, stream, endpoint_id, route FROM lane WHERE id = ?", (lane,)
        )[0]
        if before != route:
            other = find_or_make(tx, (account_id, domain_id, stream, route, own))
            tx.execute(f"UPDATE delivery SET lane_id = ? WHERE id IN ({','.join('?' * len(ids_))})", (other, *ids_))


def rerouted(rows: Sequence[Claimed]) -> None:
    """Write down that claimed deliveries go by their routes from now on; those whose claim was lost stay."""

    def work(tx: db.Transaction) -> None:
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        ids_ = sorted(row.id for row in rows)
        held = dict(
            tx.rows(
                f"SELECT id, fence FROM delivery WHERE id IN ({','.join('?' * len(ids_))}) AND state = ?"
                f" ORDER BY id{lock}",
                (*ids_, int(DeliveryState.CLAIMED)),
            )
        )
        by_route: dict[str, list[int]] = {}
        for row in rows:
            if held.get(row.id) == row.fence:
                by_route.setdefault(row.route, []).append(row.id)
        for route, some in by_route.items():
            move(tx, some, route)

    if rows:
        db.in_transaction(work)


@dataclass(slots=True)
class Claimed:
    """A delivery that this process holds until `lease_ms`."""

    id: int
    message_id: int
    account_id: int
    domain_id: int
    rcpt: str
    merge: str | None
    attempts: int
    fence: int
    expires_ms: int
    lane_id: int
    route: str
    lease_ms: int
    was: DeliveryState  # CLAIMED: its last holder vanished while it held it
    is_bulk: bool = False
    passed: tuple[str, ...] = ()  # sending servers passed over on the way to the one of the route, and why

    @property
    def pair(self) -> tuple[int, int]:
        """The claim, as the journal and the leases name it."""
        return self.id, self.fence


class Rounds:
    """Takes lanes in turn, transactional ones first but never all; one object a process."""

    def __init__(self) -> None:
        # One place for each kind: with one for both, a bulk lane would send the others back to their start.
        self._last = {True: 0, False: 0}
        self._lock = threading.Lock()

    def choose(self, ready: list[tuple[int, int]]) -> list[int]:
        """Up to `LANES_A_CLAIM` of the ready (lane, stream) pairs, going on after the last one served."""
        with self._lock:
            fast, slow = self._turn(ready, bulk=False), self._turn(ready, bulk=True)
            kept = min(len(slow), max(2, LANES_A_CLAIM - len(fast)))  # bulk always gets two places of ten
            fast, slow = fast[: LANES_A_CLAIM - kept], slow[:kept]
            for bulk, some in ((False, fast), (True, slow)):
                if some:
                    self._last[bulk] = some[-1]
            return fast + slow

    def _turn(self, ready: list[tuple[int, int]], *, bulk: bool) -> list[int]:
        """The ready lanes of a kind, beginning behind the one served last."""
        lanes = [lane for lane, stream in ready if (stream == Stream.BULK) == bulk]
        last = self._last[bulk]
        return [lane for lane in lanes if lane > last] + [lane for lane in lanes if lane <= last]


def ready_lanes(now_ms: int) -> list[tuple[int, int]]:
    """(lane, stream) of every lane that is not paused and whose first delivery is due.

    Campaigns of a sender take one turn together, as if they stood in one lane: whose first has waited longest.
    """
    force = "FORCE INDEX (delivery_lane_id_due_ms)" if db.dialect() == "mysql" else ""
    found = db.rows(
        "SELECT l.id, l.stream, l.account_id, l.domain_id, l.route, l.endpoint_id, (SELECT d.due_ms"
        f" FROM delivery d {force} WHERE d.lane_id = l.id AND d.due_ms IS NOT NULL ORDER BY d.due_ms LIMIT 1)"
        " FROM lane l WHERE l.kind = ? AND l.paused_until_ms <= ? ORDER BY l.id",
        (int(LaneKind.DELIVER), now_ms),
    )
    ready: list[tuple[int, int]] = []
    firsts: dict[tuple[Any, ...], tuple[int, int]] = {}
    for lane, stream, *sender, own, due_ms in found:
        if due_ms is None or due_ms > now_ms:
            continue
        if not own:
            ready.append((lane, stream))
        elif (stream, *sender) not in firsts or due_ms < firsts[(stream, *sender)][0]:
            firsts[(stream, *sender)] = (due_ms, lane)
    ready += ((lane, key[0]) for key, (_, lane) in firsts.items())
    return sorted(ready)


def paused() -> frozenset[int]:
    """Lanes of which nothing may leave now, whoever holds it."""
    return frozenset(
        lane
        for (lane,) in db.rows(
            "SELECT id FROM lane WHERE kind = ? AND paused_until_ms > ?", (int(LaneKind.DELIVER), clock.now_ms())
        )
    )


_OWN = "kind = ? AND account_id = ? AND domain_id = ? AND endpoint_id = ?"


def own_lanes(tx: db.Transaction, *, account_id: int, domain_id: int, own: int) -> list[int]:
    """The lanes of one campaign: one, or where it goes over several sending servers one for each."""
    values = (int(LaneKind.DELIVER), account_id, domain_id, own)
    return [lane for (lane,) in tx.rows(f"SELECT id FROM lane WHERE {_OWN} ORDER BY id", values)]


def hold(tx: db.Transaction, *, account_id: int, domain_id: int, own: int, cause: str) -> None:
    """Hold what waits of a campaign; what a process has in memory goes back within a second."""
    tx.execute(
        f"UPDATE lane SET paused_until_ms = ?, cause = ? WHERE {_OWN}",
        (FOR_GOOD_MS, cause[:255], int(LaneKind.DELIVER), account_id, domain_id, own),
    )


def let_go(tx: db.Transaction, *, account_id: int, domain_id: int, own: int) -> None:
    tx.execute(
        f"UPDATE lane SET paused_until_ms = 0, cause = '' WHERE {_OWN}",
        (int(LaneKind.DELIVER), account_id, domain_id, own),
    )
    tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)


def drop_own(tx: db.Transaction, *, account_id: int, domain_id: int, own: int) -> bool:
    """Take away the lanes of a campaign that is over; False where something waits in them still."""
    found = own_lanes(tx, account_id=account_id, domain_id=domain_id, own=own)
    for lane in found:
        if tx.rows("SELECT 1 FROM delivery WHERE lane_id = ? LIMIT 1", (lane,)):
            return False
    tx.executemany("DELETE FROM lane WHERE id = ?", [(lane,) for lane in found])
    return True


def claim(
    rounds: Rounds,
    journal_claim: Callable[[Sequence[tuple[int, int]], int], None] | None = None,
    limit: int = BATCH,
    *,
    calm_s: float = 0.0,
) -> list[Claimed]:
    """Take up to `limit` due deliveries, fairly over the lanes, and hold them for `LEASE_MS`.

    `journal_claim` gets (id, fence) pairs and their lease inside the transaction: a journal that misses a claim
    would cost a lease of waiting. One that names a claim which was rolled back must tell it by its lease, for the
    next claimer gets the same fence. Until the database has been there for `calm_s` seconds, as far as this process
    knows, leases that ran out are left to their holders.
    """
    chosen = rounds.choose(ready_lanes(clock.now_ms()))
    if not chosen:
        return []
    quantum = max(1, limit // len(chosen))
    known = {
        lane: (route, stream == Stream.BULK)
        for lane, route, stream in db.rows(
            f"SELECT id, route, stream FROM lane WHERE id IN ({','.join('?' * len(chosen))})", chosen
        )
    }

    def work(tx: db.Transaction) -> list[Claimed]:
        now = clock.now_ms()
        # Spread over a second or two, so that its end also tells one claim from the next under the same fence.
        lease = now + LEASE_MS + round(1000 * ids.jitter(1.0))
        lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "mysql" else ""
        force = "FORCE INDEX (delivery_lane_id_due_ms)" if tx.dialect == "mysql" else ""
        # Judged here: it is the beginning of the transaction that finds out that a connection was lost.
        free = "" if db.calm_s() > calm_s else f" AND state <> {int(DeliveryState.CLAIMED)}"
        taken: list[Claimed] = []
        for lane in chosen:
            route, is_bulk = known.get(lane, (ROUTE_DEFAULT, False))
            taken += [
                Claimed(*row[:9], lane, route, lease, DeliveryState(row[9]), is_bulk)  # type: ignore[call-arg]
                for row in tx.rows(
                    "SELECT id, message_id, account_id, domain_id, rcpt, merge, attempts, fence + 1, expires_ms, state"
                    f" FROM delivery {force} WHERE lane_id = ? AND due_ms <= ?{free} ORDER BY due_ms LIMIT ?{lock}",
                    (lane, now, quantum),
                )
            ]
        if taken:
            marks = ",".join("?" * len(taken))
            tx.execute(
                f"UPDATE delivery SET state = ?, due_ms = ?, fence = fence + 1, waiting = NULL WHERE id IN ({marks})",
                (int(DeliveryState.CLAIMED), lease, *(row.id for row in taken)),
            )
            _give_time(tx, taken, now)
            if journal_claim is not None:
                journal_claim([(row.id, row.fence) for row in taken], lease)
        return taken

    return db.in_transaction(work)


def _give_time(tx: db.Transaction, taken: Sequence[Claimed], now: int) -> None:
    """Let bulk mail that stood still until its time to keep trying was over be tried as long as any other."""
    late = [row for row in taken if row.is_bulk and not row.attempts and row.expires_ms < now]
    if late:
        expires_ms = now + config.settings().bulk_hours * clock.HOUR_MS
        marks = ",".join("?" * len(late))
        tx.execute(f"UPDATE delivery SET expires_ms = ? WHERE id IN ({marks})", (expires_ms, *(row.id for row in late)))
        for row in late:
            row.expires_ms = expires_ms


def renew(held: Sequence[tuple[int, int]], lease_ms: int) -> set[tuple[int, int]]:
    """Push the lease of (id, fence) pairs forward to `lease_ms`; returns those that still were the caller's."""

    def work(tx: db.Transaction) -> set[tuple[int, int]]:
        kept: set[tuple[int, int]] = set()
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        for start in range(0, len(held), 500):
            some = sorted(held[start : start + 500])
            marks = ",".join("?" * len(some))
            mine = set(some) & set(
                tx.rows(
                    f"SELECT id, fence FROM delivery WHERE id IN ({marks}) AND state = ? ORDER BY id{lock}",
                    (*(delivery_id for delivery_id, _ in some), int(DeliveryState.CLAIMED)),
                )
            )
            if mine:
                tx.execute(
                    f"UPDATE delivery SET due_ms = ? WHERE id IN ({','.join('?' * len(mine))})",
                    (lease_ms, *sorted(delivery_id for delivery_id, _ in mine)),
                )
            kept |= mine
        return kept

    return db.in_transaction(work)


@dataclass(frozen=True, slots=True)
class PutOff:
    """A claimed delivery that is not tried now, but looked at again at `due_ms`; `verdict` is JSON that says why."""

    row: Claimed
    due_ms: int
    verdict: str
    cause: str
    paused: bool = False  # by a limit, which may have been canceled this very moment


def put_off(some: Sequence[PutOff]) -> int:
    """Put claimed deliveries back into the queue, untried, with a time and a verdict each; how many were still held."""
    return db.in_transaction(lambda tx: _put_off(tx, some)) if some else 0


def _put_off(tx: db.Transaction, some: Sequence[PutOff]) -> int:
    count = 0
    values = "VALUES " if tx.dialect == "sqlite" else ""
    for start in range(0, len(some), BATCH):
        part = some[start : start + BATCH]
        whens = " ".join(["WHEN ? THEN ?"] * len(part))
        verdicts = {one.row.id: one.verdict for one in part}
        same = len(set(verdicts.values())) == 1
        waiting = "?" if same else f"CASE id {whens} END"
        count += tx.execute(
            f"UPDATE delivery SET state = CASE WHEN attempts = 0 THEN ? ELSE ? END, due_ms = CASE id {whens} END,"
            f" waiting = {waiting} WHERE id IN ({','.join('?' * len(part))}) AND state = ?"
            f" AND (id, fence) IN ({values}{','.join(['(?,?)'] * len(part))})",
            (
                int(DeliveryState.QUEUED),
                int(DeliveryState.DEFERRED),
                *(value for one in part for value in (one.row.id, one.due_ms)),
                *([part[0].verdict] if same else [value for pair in verdicts.items() for value in pair]),
                *verdicts,
                int(DeliveryState.CLAIMED),
                *(value for one in part for value in (one.row.id, one.row.fence)),
            ),
        ).rowcount
    return count


def give_back(held: Sequence[tuple[int, int]], leases: Mapping[tuple[int, int], int] | None = None) -> int:
    """Make claimed but unstarted (id, fence) pairs due at once; returns how many were still held.

    Of the pairs in `leases` it is not known whether their claim was committed: only a row with that very lease is it.
    """
    doubtful = leases or {}
    sure = [pair for pair in held if pair not in doubtful]
    unsure = [(*pair, doubtful[pair]) for pair in held if pair in doubtful]

    def work(tx: db.Transaction) -> int:
        return _give_back(tx, "(id, fence)", sure) + _give_back(tx, "(id, fence, due_ms)", unsure)

    return db.in_transaction(work) if held else 0


def _give_back(tx: db.Transaction, columns: str, held: Sequence[tuple[int, ...]]) -> int:
    count = 0
    now = clock.now_ms()
    values = "VALUES " if tx.dialect == "sqlite" else ""
    for start in range(0, len(held), 300):
        some = held[start : start + 300]
        marks = ",".join("(" + ",".join("?" * len(row)) + ")" for row in some)
        count += tx.execute(
            "UPDATE delivery SET state = CASE WHEN attempts = 0 THEN ? ELSE ? END, due_ms = ?"
            # The index is found by the ids alone: MySQL scans the table for pairs.
            f" WHERE id IN ({','.join('?' * len(some))}) AND state = ? AND {columns} IN ({values}{marks})",
            (
                int(DeliveryState.QUEUED),
                int(DeliveryState.DEFERRED),
                now,
                *(row[0] for row in some),
                int(DeliveryState.CLAIMED),
                *(value for row in some for value in row),
            ),
        ).rowcount
    return count
