"""The embedded broker's transport, through kombu."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection

from tasks import bells


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with Connection(f"{bells.SCHEME}://", transport_options={"folder": str(tmp_path / "broker")}) as made:
        yield made


def test_bells_come_in_order_and_once(connection: Connection) -> None:
    queue = connection.SimpleQueue("deliver")
    for n in range(3):
        queue.put({"n": n})
    assert queue.qsize() == 3
    got = []
    for _ in range(3):
        message = queue.get(timeout=2)
        got.append(message.payload)
        message.ack()
    assert got == [{"n": 0}, {"n": 1}, {"n": 2}]
    with pytest.raises(queue.Empty):
        queue.get(timeout=0.05)


def test_queues_are_apart(connection: Connection) -> None:
    connection.SimpleQueue("deliver").put({"for": "deliver"})
    with pytest.raises(connection.SimpleQueue("aside").Empty):
        connection.SimpleQueue("aside").get(timeout=0.05)


def test_a_queue_without_a_worker_stays_small_and_keeps_the_newest(connection: Connection, tmp_path: Path) -> None:
    queue = connection.SimpleQueue("deliver")
    for n in range(bells.MOST + 20):
        queue.put({"n": n})
    assert len(list((tmp_path / "broker" / "deliver").iterdir())) == bells.MOST
    assert queue.get(timeout=2).payload == {"n": 20}


def test_a_wiped_folder_comes_back(connection: Connection, tmp_path: Path) -> None:
    queue = connection.SimpleQueue("deliver")
    queue.put({"n": 1})
    shutil.rmtree(tmp_path / "broker")
    with pytest.raises(queue.Empty):
        queue.get(timeout=0.05)
    queue.put({"n": 2})
    assert queue.get(timeout=2).payload == {"n": 2}


def test_a_torn_file_is_passed_over(connection: Connection, tmp_path: Path) -> None:
    queue = connection.SimpleQueue("deliver")
    queue.put({"n": 1})
    (tmp_path / "broker" / "deliver" / "00000-torn").write_text('{"body": ')
    assert queue.get(timeout=2).payload == {"n": 1}
    assert list((tmp_path / "broker" / "deliver").iterdir()) == []
