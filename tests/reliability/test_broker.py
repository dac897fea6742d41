"""The broker is killed and wiped while mail flows: everything is accepted meanwhile, and nothing is lost or doubled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.cli.installation import wait_for
from tests.peers import redis_server
from tests.peers.redis_server import RedisServer
from tests.reliability.conftest import times
from tests.reliability.world import World, refusals
from tests.tasks.test_brokers import URLS, Broker, why_not

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]


class Bellman(Protocol):
    """A broker that may be taken away, all bells with it."""

    url: str

    def lose(self) -> None: ...

    def bring_back(self) -> None: ...


class _OwnRedis:
    """Killed: it keeps nothing on disk, so what comes back is empty."""

    def __init__(self, server: RedisServer) -> None:
        self.url = server.url
        self.lose, self.bring_back = server.kill, server.start


class _SharedRabbit:
    """Not ours to stop: cut off, and the queues of this test deleted."""

    def __init__(self, broker: Broker) -> None:
        self.url = broker.url
        self._broker = broker
        self.bring_back = broker.start

    def lose(self) -> None:
        self._broker.stop()
        self._broker.wipe()


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bellman]:
    reason = redis_server.why_not() if request.param == "redis" else why_not(URLS["rabbitmq"])
    if reason:
        pytest.skip(reason)
    if request.param == "redis":
        with RedisServer(tmp_path / "redis") as server:
            yield _OwnRedis(server)
    else:
        shared = Broker("rabbitmq", tmp_path / "var")
        yield _SharedRabbit(shared)
        shared.close()


def test_a_lost_broker_costs_time_and_no_mail(broker: Bellman, tmp_path: Path, report: Callable[[str], None]) -> None:
    with World(tmp_path / "var", BROKER_URL=broker.url) as world, world.stream as stream:
        time.sleep(0.7)
        slowest = 0.0
        rounds = times(1, 10)
        for _ in range(rounds):
            lost = time.monotonic()
            broker.lose()
            wait_for(lambda: stream.accepted_since(lost + 0.2) >= 20, "mail is accepted without it", seconds=20)  # noqa: B023
            broker.bring_back()
            slowest = max(slowest, world.arrives_within(40, time.monotonic()))
            time.sleep(0.5)
        stream.stop()
        figures = world.settle(60)
        report(f"broker lost {rounds} times: {figures}; next arrival after {slowest:.2f} s")
        assert refusals(stream.answers) == {}
        assert (figures.lost, figures.live, figures.events, figures.twice) == ([], 0, 0, 0)
        assert figures.duplicates == []
        assert world.metric("commandpost_queue_oldest_overdue_seconds") == 0
