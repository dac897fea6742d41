"""Sending servers as the engine meets them: which one takes a claimed delivery now, which one next, or until when none.

What was chosen when the message was accepted is looked at again: a server that is paused, full, broken or gone is
passed over for the next one of the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import orjson

from gateway import clock, ids
from gateway.services import routes, routing_tables, server_kinds, shaping
from gateway.services.lanes import ROUTE_DEFAULT, Claimed, PutOff
from gateway.services.routes import Choice, Judge, Next, Obstacle, Way
from gateway.services.routing_tables import Server, Table, target_of
from gateway.services.server_quotas import Quotas
from gateway.services.shaping import Limit
from gateway.transports.outcome import Outcome, Result
from models import database as db
from models.vocabulary import DeliveryState

LOOK_AGAIN_MS = 3_600_000
"""A delivery that waits for a server is looked at again after so long at the latest."""

_PROBE_MS = 1000
_CAUSE = 500


@dataclass(frozen=True, slots=True)
class State:
    """What the dispatcher knows of a server."""

    pause: Limit | None = None
    probing: bool = False  # after a pause, until one message went through
    waiting: int = 0  # messages in memory


class Rerouter:
    """One of each process; `state_of` gives what the dispatcher knows, by the server's name among the limits."""

    def __init__(self, quotas: Quotas, state_of: Callable[[str], State], *, holds_doubtful: bool) -> None:
        self._quotas, self._state_of, self.holds_doubtful = quotas, state_of, holds_doubtful
        self._horizon: dict[tuple[int, bool], float] = {}

    def settle(self, claimed: Sequence[Claimed]) -> tuple[list[Claimed], list[PutOff]]:
        """Give each of a batch the route that it takes now; those for which no server is free are put off."""
        if not any(routes.parse(row.route) for row in claimed):
            return list(claimed), []
        tables = _tables(claimed)
        going, waiting = _Batch(self, tables, claimed).settle()
        if waiting:
            # Whoever just made room has let go of what waits: it must not be put off by our memory of before.
            tables |= {account: routing_tables.fresh(account) for account in {row.account_id for row, _ in waiting}}
            more, waiting = _Batch(self, tables, [row for row, _ in waiting]).settle()
            going += more
        return going, [self._put_off(tables[row.account_id], row, choice) for row, choice in waiting]

    def after(self, row: Claimed, outcome: Outcome, message_uuid: bytes) -> Next | None:
        """Where the delivery goes on after this attempt; None: where it is, or nowhere."""
        way = routes.parse(row.route)
        if way is None:
            return None
        if outcome.result is Result.IN_DOUBT:
            # It may have arrived: another server would not know it for the same.
            return Next(Way(routes.ONLY, way.server_id).route)
        table = routing_tables.of(row.account_id) if outcome.ours_to_move else None
        if table is None:
            return None
        ordered = routes.order(routes.shares_of(table, way), routes.seed_of(message_uuid, row.rcpt))
        at = next((at for at, one in enumerate(ordered) if one.id == way.server_id), -1)
        rest = ordered[at + 1 :]
        judge = self.judge(table)
        for one in rest:
            if judge(one) is None:
                return Next(Way(way.basis, one.id).route, True, one.name, len(ordered))
        if outcome.result is Result.BOUNCED:
            return Next(Way(way.basis, rest[0].id).route, False, rest[0].name, len(ordered)) if rest else None
        return Next(Way(way.basis, ordered[0].id).route, False, "", len(ordered)) if ordered else None

    def told(self, row: Claimed, outcome: Outcome) -> Outcome:
        """The outcome with the server and the rule in its route verdict."""
        way = routes.parse(row.route)
        if way is None:
            return outcome
        table = routing_tables.of(row.account_id)
        server = table.servers.get(way.server_id) if table is not None else None
        mine: dict[str, object] = {"gate": "route", "rule": routes.basis_words(table, way.basis)}
        if server is not None:
            mine |= {
                "server": server.name, "server_id": server.public_id,
                "provider": server_kinds.provider_word(server.kind),
            }  # fmt: skip
        if row.passed:
            mine["passed_over"] = list(row.passed)
        first = outcome.verdicts[0] if outcome.verdicts and outcome.verdicts[0].get("gate") == "route" else {}
        return replace(outcome, verdicts=({**mine, **first}, *outcome.verdicts[1 if first else 0 :]))

    def server(self, row: Claimed) -> Server | None:
        """The server that the row goes over; None for other routes."""
        way = routes.parse(row.route)
        table = routing_tables.of(row.account_id) if way is not None else None
        return table.servers.get(way.server_id) if table is not None and way is not None else None

    def judge(self, table: Table) -> Judge:
        """What stands against a server, as far as this process knows now."""
        stored = routes.judge_by(replace(table, broken={}))

        def judge(server: Server) -> Obstacle | None:
            pause = self._state_of(target_of(server.id)).pause
            if pause is not None and pause.is_active(clock.now_ms()):
                return Obstacle(f"{pause.cause} (limit {pause.id})", pause.ends_ms)
            full = self._quotas.full(server)
            if full is not None:
                return routes.full_up(server, *full)
            return stored(server)

        return judge

    def room(self, server: Server) -> tuple[int | None, Obstacle | None]:
        """How many messages of a batch it takes, and what the others are told."""
        state = self._state_of(target_of(server.id))
        if state.probing:
            tried = Obstacle("it failed, and is tried with one message", clock.now_ms() + _PROBE_MS)
            return (0 if state.waiting else 1), tried
        if not server.limits:
            return None, None
        room, full = self._quotas.room(server)
        return max(0, room - state.waiting), routes.full_up(server, *full)

    def _put_off(self, table: Table | None, row: Claimed, choice: Choice) -> PutOff:
        now = clock.now_ms()
        obstacle = choice.obstacle or Obstacle("")
        until = obstacle.until_ms
        if until is None:
            due = now + int(shaping.STEP_MS * ids.jitter(0.2))
        else:
            until = self._turn(choice.server, obstacle, until, now, bulk=row.is_bulk)
            due = min(until, now + LOOK_AGAIN_MS)
        due = min(due, max(row.expires_ms, now + 1000))
        rule = routes.basis_words(table, choice.basis)
        whose = "its sending server" if choice.basis == routes.ONLY else "no sending server"
        if choice.basis.startswith("rule:"):
            whose += f" of the rule {rule}"
        why = "; ".join(f"{server.name}: {one.why}" for server, one in choice.passed)
        cause = f"{whose} can take it now: {why}" if choice.basis != routes.ONLY else f"{whose} has to wait: {why}"
        pause = self._state_of(target_of(choice.server.id)).pause
        verdict = {
            "gate": "route", "limit": pause.id if pause is not None else None, "until_ms": until, "rule": rule,
            "cause": cause[:_CAUSE],
        }  # fmt: skip
        return PutOff(row, due, orjson.dumps(verdict).decode(), cause[:_CAUSE], pause is not None)

    def _turn(self, server: Server, obstacle: Obstacle, until_ms: int, now_ms: int, *, bulk: bool) -> int:
        """When one more may find room: each that waits moves the next one of its stream on.

        A queue may be cleared meanwhile, so nobody waits for long only because others did.
        """
        window = obstacle.window_ms
        if not window:
            return until_ms + int(1000 * ids.jitter(1.0))
        key = (server.id, bulk)
        last = now_ms + (shaping.STEP_MS if until_ms - now_ms < shaping.STEP_MS else LOOK_AGAIN_MS)
        at = min(max(self._horizon.get(key, 0.0), until_ms), last)
        self._horizon[key] = at + window / obstacle.limit
        return max(until_ms, int(at - at % window))


def _tables(claimed: Sequence[Claimed]) -> dict[int, Table | None]:
    """By account; read anew where a route is of a server or rule that is not known, which may be new."""
    tables = {account: routing_tables.of(account) for account in {row.account_id for row in claimed}}
    strange = set()
    for account, route in {(row.account_id, row.route) for row in claimed}:
        way, table = routes.parse(route), tables[account]
        if way is not None and (table is None or not routes.is_share(table, way)):
            strange.add(account)
    return tables | {account: routing_tables.fresh(account) for account in strange}


class _Batch:
    """One look at a batch of claimed deliveries."""

    def __init__(self, rerouter: Rerouter, tables: dict[int, Table | None], claimed: Sequence[Claimed]) -> None:
        self._rerouter, self._tables, self._claimed = rerouter, tables, claimed
        self._judges = {account: rerouter.judge(table) for account, table in tables.items() if table is not None}
        self._obstacles: dict[int, Obstacle | None] = {}
        self._room: dict[int, tuple[int | None, Obstacle | None]] = {}
        self._uuids: dict[int, bytes] | None = None
        self._fit: dict[tuple[int, str], bool] = {}

    def settle(self) -> tuple[list[Claimed], list[tuple[Claimed, Choice]]]:
        going: list[Claimed] = []
        waiting: list[tuple[Claimed, Choice]] = []
        for row in self._claimed:
            way = routes.parse(row.route)
            if way is not None and row.was is DeliveryState.CLAIMED and way.basis != routes.ONLY:
                # Its last holder vanished, so that server may have it.
                way = Way(routes.ONLY, way.server_id)
                row.route = way.route
            choice = self._choose(row, way) if way is not None else None
            if choice is not None and choice.obstacle is not None:
                waiting.append((row, choice))
            else:
                going.append(row)
        return going, waiting

    def _choose(self, row: Claimed, way: Way) -> Choice | None:
        table = self._tables[row.account_id]
        doubtful = row.was is DeliveryState.CLAIMED and self._rerouter.holds_doubtful
        mine = table.servers.get(way.server_id) if table is not None else None
        if mine is not None and (row.was is DeliveryState.HELD or doubtful):
            return None  # it is not sent anyhow
        if table is None:
            row.route = ROUTE_DEFAULT
            return None
        judge = self._judge(row.account_id)
        if mine is not None and self._belongs(row, table, way) and judge(mine) is None:
            self._spend(mine)
            return None
        some = routes.shares_of(table, way)
        if not some:
            row.route = ROUTE_DEFAULT
            return None
        ordered = routes.order(some, routes.seed_of(self._uuid(row.message_id), row.rcpt))
        at = next((at for at, one in enumerate(ordered) if one.id == way.server_id), 0)
        choice = routes.first(way.basis, ordered[at:] + ordered[:at], judge)
        if choice is not None and choice.obstacle is None:
            self._spend(choice.server)
            row.route = choice.route
            row.passed = tuple(f"{server.name}: {obstacle.why}"[:200] for server, obstacle in choice.passed)
        return choice

    def _belongs(self, row: Claimed, table: Table, way: Way) -> bool:
        """Whether the rule still names the server."""
        key = (row.account_id, row.route)
        if key not in self._fit:
            self._fit[key] = routes.is_share(table, way)
        return self._fit[key]

    def _judge(self, account_id: int) -> Judge:
        judge = self._judges[account_id]

        def judged(server: Server) -> Obstacle | None:
            if server.id not in self._obstacles:
                self._obstacles[server.id] = judge(server)
                self._room[server.id] = self._rerouter.room(server)
            obstacle = self._obstacles[server.id]
            if obstacle is not None:
                return obstacle
            left, then = self._room[server.id]
            return then if left is not None and left <= 0 else None

        return judged

    def _spend(self, server: Server) -> None:
        left, then = self._room[server.id]
        if left is not None:
            self._room[server.id] = (left - 1, then)

    def _uuid(self, message_id: int) -> bytes:
        if self._uuids is None:
            wanted = sorted({row.message_id for row in self._claimed})
            marks = ",".join("?" * len(wanted))
            self._uuids = {
                row_id: bytes(uuid)
                for row_id, uuid in db.rows(f"SELECT id, uuid FROM message WHERE id IN ({marks})", wanted)
            }
        return self._uuids.get(message_id, b"")
