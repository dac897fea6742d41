"""Fairness and claims: who is served when, and that a claim has one holder."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import models
from gateway import clock
from gateway.services import journal, lanes, messages, recovery
from models import database as db
from models.vocabulary import DeliveryState, Stream
from tests import cast


def test_lanes_are_served_in_turn() -> None:
    rounds = lanes.Rounds()
    ready = [(lane, Stream.TRANSACTIONAL) for lane in range(1, 26)]
    served = [lane for _ in range(5) for lane in rounds.choose(ready)]
    assert served == [*range(1, 26), *range(1, 26)]


def test_bulk_comes_last_but_always_comes() -> None:
    rounds = lanes.Rounds()
    ready = [(lane, Stream.TRANSACTIONAL) for lane in range(1, 31)] + [(99, Stream.BULK), (98, Stream.BULK)]
    for _ in range(3):
        chosen = rounds.choose(sorted(ready))
        assert len(chosen) == lanes.LANES_A_CLAIM
        assert {98, 99} <= set(chosen)
        assert chosen.index(98) >= 8 and chosen.index(99) >= 8


def test_bulk_alone_has_every_place() -> None:
    assert lanes.Rounds().choose([(n, Stream.BULK) for n in range(5)]) == [1, 2, 3, 4, 0]


def test_a_bulk_lane_does_not_send_the_others_back_to_their_start() -> None:
    rounds = lanes.Rounds()
    ready = [(lane, Stream.TRANSACTIONAL) for lane in range(1, 31)] + [(99, Stream.BULK)]
    served = {lane for _ in range(4) for lane in rounds.choose(ready)}
    assert served == {*range(1, 31), 99}


@pytest.mark.usefixtures("store")
class TestClaim:
    def test_a_claim_pushes_the_due_time_forward_as_its_lease(self) -> None:
        messages.accept(cast.sender().caller, cast.draft())
        before = clock.now_ms()
        (claimed,) = lanes.claim(lanes.Rounds())
        row = models.Delivery.get()
        assert (row.state, row.fence, claimed.fence) == (DeliveryState.CLAIMED, 1, 1)
        assert before + lanes.LEASE_MS <= row.due_ms == claimed.lease_ms
        assert lanes.claim(lanes.Rounds()) == []

    def test_a_lease_that_ran_out_is_due_again_under_a_new_fence(self) -> None:
        messages.accept(cast.sender().caller, cast.draft())
        lanes.claim(lanes.Rounds())
        models.Delivery.update(due_ms=clock.now_ms() - 1).execute()
        (again,) = lanes.claim(lanes.Rounds())
        assert (again.fence, again.was) == (2, DeliveryState.CLAIMED)

    def test_a_big_lane_does_not_keep_small_ones_waiting(self) -> None:
        big, small = cast.sender("big", "big.test"), cast.sender("small", "small.test")
        for _ in range(30):
            messages.accept(big.caller, cast.draft(domain="big.test"))
        messages.accept(small.caller, cast.draft(domain="small.test"))
        domains = {row.domain_id for row in lanes.claim(lanes.Rounds(), limit=10)}
        assert domains == {big.domain.id, small.domain.id}

    def test_what_is_given_back_is_due_at_once(self) -> None:
        messages.accept(cast.sender().caller, cast.draft())
        (claimed,) = lanes.claim(lanes.Rounds())
        assert lanes.give_back([(claimed.id, claimed.fence + 1)]) == 0
        assert lanes.give_back([(claimed.id, claimed.fence)]) == 1
        (again,) = lanes.claim(lanes.Rounds())
        assert again.was is DeliveryState.QUEUED

    def test_renewing_is_for_the_holder_only(self) -> None:
        messages.accept(cast.sender().caller, cast.draft())
        (claimed,) = lanes.claim(lanes.Rounds())
        lanes.renew([(claimed.id, claimed.fence + 1)], 5)
        assert models.Delivery.get().due_ms == claimed.lease_ms
        lanes.renew([(claimed.id, claimed.fence)], claimed.lease_ms + 5)
        assert models.Delivery.get().due_ms == claimed.lease_ms + 5

    def test_parallel_claims_never_share_a_delivery(self) -> None:
        who = cast.sender()
        for _ in range(60):
            messages.accept(who.caller, cast.draft())
        taken: list[int] = []

        def take() -> None:
            rounds = lanes.Rounds()
            while rows := lanes.claim(rounds, limit=7):
                taken.extend(row.id for row in rows)
            db.close()

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A claim that met only locked rows ends a thread early, so the rest is taken here.
        while rows := lanes.claim(lanes.Rounds()):
            taken.extend(row.id for row in rows)
        assert len(taken) == len(set(taken)) == 60

    def test_the_database_refuses_a_live_delivery_without_a_due_time(self) -> None:
        messages.accept(cast.sender().caller, cast.draft())
        with pytest.raises(Exception, match=r"(?i)check|constraint"):
            db.in_transaction(lambda tx: tx.execute("UPDATE delivery SET due_ms = NULL"))
        assert models.Delivery.get().due_ms is not None

    def test_a_claim_that_was_rolled_back_gives_nothing_of_the_next_holder_back(self, tmp_path: Path) -> None:
        messages.accept(cast.sender().caller, cast.draft())
        dead = journal.Journal(tmp_path / "journal")

        def broken(pairs: Sequence[tuple[int, int]], lease_ms: int) -> None:
            dead.claimed(pairs, lease_ms)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            lanes.claim(lanes.Rounds(), broken)
        (holder,) = lanes.claim(lanes.Rounds())
        dead.close()
        assert recovery.recover() == 1
        row = models.Delivery.get()
        assert (row.state, row.fence, row.due_ms) == (DeliveryState.CLAIMED, holder.fence, holder.lease_ms)

    def test_a_claim_whose_commit_was_not_heard_of_is_given_back(self, tmp_path: Path) -> None:
        messages.accept(cast.sender().caller, cast.draft())
        dead = journal.Journal(tmp_path / "journal")
        lanes.claim(lanes.Rounds(), dead.claimed)
        dead.close()
        assert recovery.recover() == 1
        assert models.Delivery.get().state == DeliveryState.QUEUED

    def test_renewing_tells_what_was_lost(self) -> None:
        who = cast.sender()
        for _ in range(2):
            messages.accept(who.caller, cast.draft())
        first, second = ((row.id, row.fence) for row in lanes.claim(lanes.Rounds()))
        models.Delivery.update(due_ms=1).where(models.Delivery.id == first[0]).execute()
        lanes.claim(lanes.Rounds())
        assert lanes.renew([first, second], clock.now_ms() + 1) == {second}

    def test_before_the_database_is_calm_only_free_ones_are_claimed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(db._Trouble, "at", time.monotonic())
        who = cast.sender()
        messages.accept(who.caller, cast.draft())
        lanes.claim(lanes.Rounds())
        models.Delivery.update(due_ms=1).execute()
        messages.accept(who.caller, cast.draft())
        (free,) = lanes.claim(lanes.Rounds(), calm_s=60)
        assert free.was is DeliveryState.QUEUED
        (expired,) = lanes.claim(lanes.Rounds())
        assert expired.was is DeliveryState.CLAIMED
