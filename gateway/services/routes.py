"""Which sending server takes a delivery: the rule that decides, the order of its servers, the first that can.

A route is the name of a lane: `rule:7/srv:12` is the server 12 by the rule 7, `pool/srv:12` one of all servers of the
account, `kind:ses/srv:12` one of a kind that the request asked for, `only/srv:12` that server and no other.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway import clock, errors, ids
from gateway.services import server_kinds, server_usage, simulated
from gateway.services.routing_match import Mail
from gateway.services.routing_tables import Rule, Server, Table
from gateway.services.verdicts import Stored

POOL, ONLY = "pool", "only"
_SHOWN = 10  # ways, and servers passed over, that a verdict names


@dataclass(frozen=True, slots=True)
class Way:
    """A route taken apart."""

    basis: str
    server_id: int

    @property
    def route(self) -> str:
        return f"{self.basis}/srv:{self.server_id}"


@dataclass(frozen=True, slots=True)
class Share:
    """A server with its priority and weight under one rule."""

    server: Server
    priority: int
    weight: int


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a server cannot take a message now; `until_ms` None: until somebody does something.

    `window_ms`: from then on `limit` messages find room in each window of so many milliseconds.
    """

    why: str
    until_ms: int | None = None
    window_ms: int = 0
    limit: int = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """`obstacle` is set where no server can now: then the route is that of the one which can first."""

    basis: str
    server: Server
    passed: tuple[tuple[Server, Obstacle], ...] = ()
    obstacle: Obstacle | None = None

    @property
    def route(self) -> str:
        return Way(self.basis, self.server.id).route


@dataclass(frozen=True, slots=True)
class Next:
    """The route that a delivery belongs to after an attempt; `size` is how many servers its rule has.

    `at_once`: `server` is tried now and not at the time of the next attempt.
    """

    route: str
    at_once: bool = False
    server: str = ""
    size: int = 1


Judge = Callable[[Server], Obstacle | None]


@functools.lru_cache(maxsize=4096)
def parse(route: str) -> Way | None:
    """The way behind a route, None for routes without a sending server."""
    basis, slash, server = route.rpartition("/")
    head, _, number = server.partition(":")
    return Way(basis, int(number)) if slash and head == "srv" and number.isdigit() else None


def shares(table: Table, basis: str) -> list[Share]:
    """The servers that a basis names; those of the pool where there is no such rule or server any more."""
    head, _, word = basis.partition(":")
    found: list[Share] = []
    if head == "rule":
        rule = next((rule for rule in table.rules if str(rule.id) == word), None)
        found = of_rule(table, rule) if rule is not None else []
    elif head == "kind":
        found = [Share(one, one.priority, one.weight) for one in table.servers.values() if one.kind == word]
    return found or _pool(table)


def shares_of(table: Table, way: Way) -> list[Share]:
    """The servers among which a way may be changed."""
    if way.basis == ONLY and (mine := table.servers.get(way.server_id)) is not None:
        return [Share(mine, mine.priority, mine.weight)]
    return shares(table, way.basis)


def is_share(table: Table, way: Way) -> bool:
    """Whether the server is one of those that the way's basis names."""
    return any(share.server.id == way.server_id for share in shares_of(table, way))


def _pool(table: Table) -> list[Share]:
    return [Share(one, one.priority, one.weight) for one in table.servers.values() if one.weight > 0]


def of_rule(table: Table, rule: Rule) -> list[Share]:
    """Its servers that exist, each once."""
    found: dict[int, Share] = {}
    for target in rule.targets:
        for server in table.servers.values():
            if server.id == target.server_id or (target.server_id is None and server.kind == target.kind):
                weight = server.weight if target.weight is None else target.weight
                found.setdefault(server.id, Share(server, target.priority, weight))
    return list(found.values())


def order(some: Iterable[Share], seed: bytes) -> list[Server]:
    """The lowest priority first; among equals at random by weight, the same for the same `seed` every time.

    Each gets the logarithm of a random number over its weight (Efraimidis and Spirakis): the others keep their order
    when a server comes or goes.
    """

    def rank(share: Share) -> tuple[int, float, int]:
        digest = hashlib.blake2b(seed + share.server.id.to_bytes(8, "big"), digest_size=8).digest()
        chance = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
        return share.priority, -math.log(chance) / share.weight if share.weight > 0 else math.inf, share.server.id

    return [share.server for share in sorted(some, key=rank)]


def seed_of(message_uuid: bytes, rcpt: str) -> bytes:
    return message_uuid + rcpt.encode()


def judge_by(table: Table) -> Judge:
    """What stands against a server, as far as the table knows."""

    def judge(server: Server) -> Obstacle | None:
        if not server.active:
            return Obstacle("it is paused")
        limit = table.broken.get(server.id)
        now = clock.now_ms()
        if limit is not None and limit.is_active(now):
            return Obstacle(f"{limit.cause} (limit {limit.id})", limit.ends_ms)
        full = table.full.get(server.id)
        if full is not None and full[0] > now:
            return full_up(server, *full)
        return None

    return judge


def full_up(server: Server, until_ms: int, span: int) -> Obstacle:
    limit = dict(server.limits).get(span, 1)
    word = server_usage.SPAN_WORDS[span]
    had = "message" if limit == 1 else f"{limit} messages"
    return Obstacle(f"it has had its {had} of this {word}", until_ms, 1000 * span, limit)


def first(basis: str, ordered: Sequence[Server], judge: Judge) -> Choice | None:
    """The first that can; where none can, the one that can soonest. None: there is no server at all."""
    passed: list[tuple[Server, Obstacle]] = []
    for server in ordered:
        obstacle = judge(server)
        if obstacle is None:
            return Choice(basis, server, tuple(passed))
        passed.append((server, obstacle))
    if not passed:
        return None
    server, obstacle = min(passed, key=lambda pair: pair[1].until_ms or 1 << 62)
    return Choice(basis, server, tuple(passed), obstacle)


class Plan:
    """Where the mail of one message goes, recipient by recipient."""

    def __init__(self, table: Table, mail: Mail, message_uuid: bytes, wish: str = "") -> None:
        """`wish` is a server or kind of provider that the request names; raises `Invalid` where there is none."""
        self._table, self._mail, self._uuid = table, mail, message_uuid
        self._judge = judge_by(table)
        self._known: dict[str, tuple[str, list[Share]]] = {}
        self._wish = _wished(table, wish) if wish else ""
        self.unused: list[str] = []  # rules that fit and have no server

    def choose(self, rcpt: str) -> Choice | None:
        """None: the installation's own way, which is also that of the simulator's recipients."""
        if simulated.is_simulated(rcpt):
            return None
        domain = rcpt.rpartition("@")[2].lower()
        found = self._known.get(domain)
        if found is None:
            found = self._known[domain] = self._decide(domain)
        basis, some = found
        return first(basis, order(some, seed_of(self._uuid, rcpt)), self._judge)

    def _decide(self, domain: str) -> tuple[str, list[Share]]:
        if self._wish:
            basis, _, rest = self._wish.partition("/")
            way = parse(self._wish) if rest else None
            return basis, shares_of(self._table, way) if way is not None else shares(self._table, basis)
        for rule in self._table.rules:
            if rule.domain_id not in (None, self._mail.domain_id):
                continue
            if rule.match.fits(self._mail) and rule.match.fits_recipient(domain):
                some = of_rule(self._table, rule)
                if some:
                    return f"rule:{rule.id}", some
                if rule.name not in self.unused:
                    self.unused.append(rule.name)
        return POOL, _pool(self._table)


def _wished(table: Table, text: str) -> str:
    """`only/srv:12` or `kind:ses`."""
    wanted = text.strip()
    uuid = ids.uuid_of("srv", wanted)
    public_id = ids.public_id("srv", uuid) if uuid is not None else ""
    for server in table.servers.values():
        if server.public_id == public_id or server.name.casefold() == wanted.casefold():
            return Way(ONLY, server.id).route
    kind = server_kinds.kind_of(wanted)
    if kind is not None and any(one.kind == kind for one in table.servers.values()):
        return f"kind:{kind}"
    raise no_such(wanted)


def no_such(wish: str) -> errors.Invalid:
    return errors.Invalid(f"There is no sending server {wish[:100]!r}.", field="routing.server")


def basis_words(table: Table | None, basis: str) -> str:
    """What decided, for a verdict: the name of the rule, or why there was none."""
    head, _, word = basis.partition(":")
    if head == "rule":
        names = {str(rule.id): rule.name for rule in table.rules} if table is not None else {}
        return names.get(word, f"rule {word}")
    return {POOL: "no_rule", ONLY: "request", "kind": "request"}.get(head, basis)


def verdict(table: Table, plan: Plan, choices: dict[str, Choice | None]) -> Stored:
    """What the gate decided for these recipients, gathered by way."""
    by_route: dict[str, list[str]] = {}
    for rcpt, choice in choices.items():
        by_route.setdefault(choice.route if choice is not None else "", []).append(rcpt)
    ways = [_told(table, choices[some[0]], some, len(by_route) > 1) for some in by_route.values()]
    more: Stored = {"rules_without_server": plan.unused[:_SHOWN]} if plan.unused else {}
    if len(ways) == 1:
        return {"gate": "route", **ways[0], **more}
    return {"gate": "route", "decision": "by_recipient", "ways": ways[:_SHOWN], **more}


def _told(table: Table, choice: Choice | None, rcpts: list[str], several: bool) -> Stored:
    whose: Stored = {}
    if several:
        domains = list(dict.fromkeys(rcpt.rpartition("@")[2] for rcpt in rcpts))
        whose = {"recipients": len(rcpts), "domains": domains[:_SHOWN]}
    if choice is None:
        rule = "simulator" if simulated.is_simulated(rcpts[0]) else "no_rule"
        return {"decision": "installation", "rule": rule, "route": "default", **whose}
    told = told_choice(table, choice)
    return {**told, "route": choice.route, **whose}


def told_choice(table: Table, choice: Choice) -> Stored:
    """A choice as verdicts tell it."""
    server = choice.server
    told: Stored = {
        "decision": "waits" if choice.obstacle is not None else "server",
        "rule": basis_words(table, choice.basis), "server": server.name, "server_id": server.public_id,
        "provider": server_kinds.provider_word(server.kind),
    }  # fmt: skip
    if choice.obstacle is not None and choice.obstacle.until_ms is not None:
        told["until_ms"] = choice.obstacle.until_ms
    passed = [f"{other.name}: {obstacle.why}" for other, obstacle in choice.passed]
    if passed:
        told["passed_over"] = passed[:_SHOWN]
    return told
