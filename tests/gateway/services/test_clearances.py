"""A long queue that is cleared: answered soon, ended behind the answer, and nothing of it leaves meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

import models
from gateway import clock, jobs
from gateway.services import clearances, deliveries, domain_changes, lanes, messages, queues, waiting
from models import database as db
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import use_settings
from tests.peers.smtp_sink import SmtpSink

pytestmark = pytest.mark.usefixtures("store")

LONG_QUEUE = 20_000
ROOT = Path(__file__).resolve().parents[3]
_DRAIN = """
import sys
from pathlib import Path
from gateway import config
from gateway.services import clearances, waiting
from models import database as db
data = Path(sys.argv[2])
config.use(config.load({"COMMANDPOST_DATA": str(data), "COMMANDPOST_SECRET": "a-secret-for-tests"}))
db.connect(sys.argv[1], data)
waiting.GAP_S = 0.05  # leaves time to be killed in
clearances.drain(60)
"""


@pytest.fixture
def who(store: str) -> cast.Sender:
    return cast.sender()


def _queue(who: cast.Sender, count: int) -> list[int]:
    """One message with so many deliveries that wait; their ids."""
    messages.accept(who.caller, cast.draft(domain=who.domain.name))
    first = models.Delivery.select().order_by(models.Delivery.id.desc()).first()
    columns = "message_id, account_id, domain_id, rcpt, state, fence, attempts, lane_id, due_ms, expires_ms"
    rest = (first.state, 0, 0, first.lane_id, first.due_ms, first.expires_ms)
    key = (first.message_id, first.account_id, first.domain_id)
    for start in range(1, count, 1000):
        some = range(start, min(count, start + 1000))
        values = [value for n in some for value in (*key, f"r{n}@friends.test", *rest)]
        sql = f"INSERT INTO delivery ({columns}) VALUES {','.join(['(?,?,?,?,?,?,?,?,?,?)'] * len(some))}"
        db.in_transaction(lambda tx, sql=sql, values=values: tx.execute(sql, values))  # type: ignore[misc]
    return [row_id for (row_id,) in db.rows("SELECT id FROM delivery WHERE message_id = ?", (first.message_id,))]


def _states() -> dict[DeliveryState, int]:
    return {DeliveryState(state): n for state, n in db.rows("SELECT state, COUNT(*) FROM delivery GROUP BY state")}


def _clear(who: cast.Sender) -> int:
    return queues.clear_domain(caller=who.owner, domain_id=who.domain.id)


def _delete(who: cast.Sender) -> int:
    return domain_changes.delete(caller=who.owner, domain_id=who.domain.id)


def _ended_once(ids: list[int], kind: EventKind) -> bool:
    """Each delivery has exactly one event of the kind, and the roll-up says as many."""
    told = [row_id for (row_id,) in db.rows("SELECT delivery_id FROM event WHERE kind = ?", (int(kind),))]
    counted = db.rows("SELECT SUM(n) FROM counter WHERE kind = ? AND tag = ''", (int(kind),))[0][0]
    return sorted(told) == sorted(ids) and int(counted) == len(ids)


@pytest.mark.parametrize(
    ("act", "state", "kind"),
    [(_clear, DeliveryState.FAILED, EventKind.FAILED), (_delete, DeliveryState.CANCELED, EventKind.CANCELED)],
    ids=["clear", "delete"],
)
def test_a_killed_worker_leaves_the_rest_to_the_next(
    who: cast.Sender,
    store: str,
    tmp_path: Path,
    bells: list[str],
    act: Callable[[cast.Sender], int],
    state: DeliveryState,
    kind: EventKind,
) -> None:
    ids = _queue(who, LONG_QUEUE)
    assert act(who) == LONG_QUEUE
    assert jobs.CLEAR in bells
    ended = _states().get(state, 0)
    # The time a request may take bounds it on a slow machine, the rows on a fast one.
    assert 0 < ended < clearances.MOST_AT_ONCE + waiting.BATCH
    worker = subprocess.Popen([sys.executable, "-c", _DRAIN, store, str(tmp_path)], cwd=ROOT)
    try:
        end = time.monotonic() + 60
        while _states().get(state, 0) < ended + 2000 and time.monotonic() < end:
            time.sleep(0.005)
    finally:
        worker.kill()
        worker.wait(10)
    assert ended + 2000 <= _states().get(state, 0) < LONG_QUEUE
    assert models.Clearance.select().count() == 1
    clearances.drain(60)
    assert _states() == {state: LONG_QUEUE}
    assert _ended_once(ids, kind)
    assert models.Clearance.select().count() == 0
    assert clearances.drain(1) == 0


def test_nothing_condemned_leaves_and_what_comes_afterwards_does(
    who: cast.Sender, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(clearances, "MOST_AT_ONCE", 0)  # as if the queue were longer than a request's time
    with SmtpSink() as sink:
        use_settings(tmp_path, DELIVERY=f"smtp://127.0.0.1:{sink.port}", DELIVER_CONNECTIONS="2")
        old = _queue(who, 150)
        assert _clear(who) == 150
        assert _states() == {DeliveryState.QUEUED: 150}
        messages.accept(who.caller, cast.draft(to="after@friends.test", domain=who.domain.name))
        while deliveries.drain(0.1):
            pass
        assert deliveries.engine().wait_idle(20)
        deliveries.close()
        assert [one.rcpts for one in sink.wait_for(1)] == [["after@friends.test"]]
    assert _states() == {DeliveryState.FAILED: 150, DeliveryState.DELIVERED: 1}
    assert _ended_once(old, EventKind.FAILED)
    assert models.Attempt.select().count() == 1
    clearances.drain(5)
    assert models.Clearance.select().count() == 0


def test_what_was_in_flight_is_spared_even_when_it_comes_back(
    who: cast.Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearances, "MOST_AT_ONCE", 0)
    _queue(who, 5)
    held = lanes.claim(lanes.Rounds(), limit=2)
    assert _clear(who) == 3
    assert clearances.refuse(held) == []
    lanes.give_back([(row.id, row.fence) for row in held])
    again = lanes.claim(lanes.Rounds(), limit=5)
    refused = clearances.refuse(again)
    assert sorted(row.id for row in again if row not in refused) == sorted(row.id for row in held)
    assert _states() == {DeliveryState.CLAIMED: 2, DeliveryState.FAILED: 3}
    assert clearances.drain(5) == 0
    assert models.Clearance.select().count() == 0


def test_the_clearance_stays_while_somebody_holds_what_it_condemns(
    who: cast.Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearances, "MOST_AT_ONCE", 0)
    _queue(who, 3)
    _clear(who)
    held = lanes.claim(lanes.Rounds(), limit=1)  # before it has asked whether it may send them
    assert clearances.drain(5) == 2
    assert models.Clearance.select().count() == 1
    assert clearances.refuse(held) == held
    clearances.drain(5)
    assert (_states(), models.Clearance.select().count()) == ({DeliveryState.FAILED: 3}, 0)


def test_a_holder_who_lost_its_lease_ends_nothing(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clearances, "MOST_AT_ONCE", 0)
    _queue(who, 1)
    _clear(who)
    late = lanes.claim(lanes.Rounds())
    models.Delivery.update(fence=models.Delivery.fence + 1).execute()
    assert clearances.refuse(late) == late  # it must not send them either
    assert _states() == {DeliveryState.CLAIMED: 1}


def test_a_lease_that_ran_out_is_told_as_in_doubt(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clearances, "MOST_AT_ONCE", 0)
    _queue(who, 1)
    lanes.claim(lanes.Rounds())
    models.Delivery.update(due_ms=clock.now_ms() - 1).execute()
    assert _clear(who) == 1
    assert clearances.refuse(lanes.claim(lanes.Rounds()))
    assert orjson.loads(models.Event.get(models.Event.kind == EventKind.FAILED).data)["in_doubt"] is True


def test_another_domains_mail_with_lower_ids_is_not_hit(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clearances, "MOST_AT_ONCE", 0)
    stranger = cast.sender("stranger", "other.test")
    theirs = _queue(stranger, 2)
    _queue(who, 2)
    _clear(who)
    clearances.drain(5)
    left = db.rows("SELECT id FROM delivery WHERE due_ms IS NOT NULL")
    assert sorted(row_id for (row_id,) in left) == sorted(theirs)


def test_a_domain_that_is_added_again_does_not_bring_its_old_queue_back(
    who: cast.Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearances, "MOST_AT_ONCE", 0)
    _queue(who, 3)
    assert _delete(who) == 3
    models.SenderDomain.update(deleted_ms=None).execute()
    claimed = lanes.claim(lanes.Rounds())
    assert clearances.refuse(claimed) == claimed
    assert _states() == {DeliveryState.CANCELED: 3}
