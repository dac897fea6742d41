"""What the end of a delivery does to its recipient: rules, strikes, the allow-list, surges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import time_machine

import models
from gateway import clock
from gateway.mail import verp
from gateway.services import allow_list, inbound, lanes, messages, outcomes, strikes, suppressions
from gateway.services.outcomes import Done
from gateway.transports.outcome import Outcome, Result
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.test_inbound import complaint, report

pytestmark = pytest.mark.usefixtures("store")

DAY = clock.DAY_MS
JANE = "jane@friends.test"
FULL = Outcome(Result.BOUNCED, 552, "5.2.2", "552 5.2.2 mailbox full", "mailbox_full", "MX.friends.test[192.0.2.1]:25")
DEAD = Outcome(Result.BOUNCED, 550, "5.1.1", "550 5.1.1 no such user", "recipient", "MX.friends.test[192.0.2.1]:25")
TAKEN = Outcome(Result.DELIVERED, 250, "2.0.0", "ok")


@pytest.fixture
def who() -> cast.Sender:
    return cast.sender()


def end(who: cast.Sender, outcome: Outcome, *, to: str = JANE, surge: bool = False, **delivery: Any) -> None:
    """Accept one message and let its one attempt end like this."""
    messages.accept(who.caller, cast.draft(to=to))
    if delivery:
        models.Delivery.update(**delivery).where(models.Delivery.due_ms.is_null(False)).execute()
    claimed = lanes.claim(lanes.Rounds())
    assert len(claimed) == 1
    outcomes.apply([Done(claimed[0].id, claimed[0].fence, outcome, "mx", clock.now_ms(), 3, surge)])


def rows() -> list[models.Suppression]:
    return list(models.Suppression.select().order_by(models.Suppression.id))


def test_a_dead_address_is_suppressed_with_its_rule_host_and_message(who: cast.Sender) -> None:
    end(who, DEAD)
    (row,) = rows()
    assert (row.address, row.reason, row.rule, row.mx) == (JANE, "bounce", "bounce:5.1.1", "mx.friends.test")
    assert (row.domain_id, row.message_id, row.expires_ms) == (who.domain.id, models.Message.get().id, None)


def test_without_an_enhanced_code_the_rule_has_the_reply_code(who: cast.Sender) -> None:
    end(who, Outcome(Result.BOUNCED, 550, "", "550 no such user", "recipient"))
    assert rows()[0].rule == "bounce:550"


@pytest.mark.parametrize(
    ("category", "enhanced"),
    [("policy", "5.7.1"), ("reputation", "5.1.1"), ("network", "5.4.4"), ("content", "5.6.0"), ("ours", "5.1.8")],
)
def test_other_refusals_leave_neither_row_nor_strike(who: cast.Sender, category: str, enhanced: str) -> None:
    end(who, Outcome(Result.BOUNCED, 550, enhanced, "no", category))
    assert rows() == []
    assert models.Strike.select().count() == 0


def test_in_a_surge_a_bounce_suppresses_nobody_and_is_a_bounce_all_the_same(who: cast.Sender) -> None:
    end(who, DEAD, surge=True)
    assert rows() == []
    assert models.Event.select().where(models.Event.kind == EventKind.BOUNCED).count() == 1


def test_a_surge_and_verdicts_survive_the_journal() -> None:
    outcome = Outcome(Result.BOUNCED, 550, verdicts=({"gate": "route", "mx": "a"},))
    for surge in (False, True):
        done = Done(1, 2, outcome, "mx", 3, 4, surge)
        assert Done.parse((1, 2), done.dump()) == done


def test_verdicts_of_the_transport_stand_with_the_attempt(who: cast.Sender) -> None:
    end(who, Outcome(Result.DELIVERED, 250, verdicts=({"gate": "tls", "used": "TLSv1.3"},)))
    assert orjson.loads(models.Attempt.get().verdicts) == [{"gate": "tls", "used": "TLSv1.3"}]


class TestStrikes:
    def test_three_days_with_a_full_mailbox_suppress_for_thirty(self, who: cast.Sender) -> None:
        start = clock.now_ms() // 1000 * 1000
        for day in range(3):
            assert rows() == []
            with time_machine.travel((start + day * 5 * DAY) / 1000, tick=False):
                end(who, FULL)
        (row,) = rows()
        assert (row.reason, row.rule, row.mx) == ("bounce", "strikes:mailbox_full", "mx.friends.test")
        assert row.expires_ms == start + 10 * DAY + 30 * DAY
        assert models.Strike.select().count() == 0

    def test_many_on_one_day_are_one(self, who: cast.Sender) -> None:
        for _ in range(5):
            end(who, FULL)
        assert rows() == []
        assert models.Strike.select().count() == 1

    def test_what_lies_outside_the_window_counts_no_more(self, who: cast.Sender) -> None:
        start = clock.now_ms() // 1000 * 1000
        for day in (0, 20, 40, 45):
            with time_machine.travel((start + day * DAY) / 1000, tick=False):
                end(who, FULL)
            assert len(rows()) == (1 if day == 45 else 0)

    @pytest.mark.parametrize("spelled", [JANE, "jAnE@friends.test"])
    def test_a_delivery_resets_them(self, who: cast.Sender, spelled: str) -> None:
        start = clock.now_ms() // 1000 * 1000
        for day, outcome in enumerate((FULL, FULL, TAKEN, FULL, FULL)):
            with time_machine.travel((start + day * DAY) / 1000, tick=False):
                end(who, outcome, to=spelled if outcome is TAKEN else JANE)
        assert rows() == []
        assert models.Strike.select().count() == 2

    def test_a_delivery_to_another_resets_nothing(self, who: cast.Sender) -> None:
        end(who, FULL)
        end(who, TAKEN, to="carl@friends.test")
        assert models.Strike.select().count() == 1

    @pytest.mark.parametrize(("category", "struck"), [("network", 1), ("", 1), ("policy", 0), ("ours", 0)])
    def test_used_up_time_is_a_strike_unless_it_is_the_receivers_rules_or_us(
        self, who: cast.Sender, category: str, struck: int
    ) -> None:
        late = Outcome(Result.DEFERRED, 451, "4.3.0", "451 later", category)
        end(who, late, expires_ms=clock.now_ms() + 1)
        assert models.Event.select().where(models.Event.kind == EventKind.FAILED).count() == 1
        assert [row.kind for row in models.Strike.select()] == [strikes.TIME_USED_UP] * struck

    def test_a_deferral_is_none_yet(self, who: cast.Sender) -> None:
        end(who, Outcome(Result.DEFERRED, 452, "4.2.2", "452 4.2.2 mailbox full", "mailbox_full"))
        assert models.Strike.select().count() == 0

    def test_they_can_be_turned_off(self, who: cast.Sender, tmp_path: Path) -> None:
        use_settings(tmp_path, STRIKES="0")
        end(who, FULL)
        assert models.Strike.select().count() == 0

    def test_a_later_bounce_takes_the_row_over(self, who: cast.Sender, tmp_path: Path) -> None:
        use_settings(tmp_path, STRIKES="1")
        messages.accept(who.caller, cast.draft())  # accepted before the address is on the list
        first = lanes.claim(lanes.Rounds())
        end(who, FULL)
        assert rows()[0].expires_ms is not None
        outcomes.apply([Done(first[0].id, first[0].fence, DEAD, "mx", clock.now_ms(), 3)])
        (row,) = rows()
        assert (row.rule, row.expires_ms) == ("bounce:5.1.1", None)
        assert suppressions.undo(rule_prefix="strikes") == 0

    def test_reading_deliveries_asks_the_index_for_strikes(self, who: cast.Sender) -> None:
        db.in_transaction(
            lambda tx: tx.executemany(
                "INSERT INTO strike (account_id, address, day, kind) VALUES (?, ?, 1, 'x')",
                [(who.owner.account_id, f"user{n}@friends.test") for n in range(200)],
            )
        )
        explain = "EXPLAIN QUERY PLAN" if db.dialect() == "sqlite" else "EXPLAIN"
        plan = db.rows(f"{explain} SELECT id, {strikes.STRUCK} FROM delivery WHERE id IN (1, 2)")
        if db.dialect() == "sqlite":
            assert any("SEARCH strike" in str(row) and "address=?" in str(row) for row in plan)
        else:
            assert [row[3] for row in plan if row[2] == "strike"] == ["ref"]

    def test_old_ones_are_swept(self, who: cast.Sender) -> None:
        end(who, FULL)
        assert strikes.collect() == (0, False)
        models.Strike.update(day=1).execute()
        assert strikes.collect() == (1, False)


class TestAllowList:
    @pytest.mark.parametrize("entry", [JANE, "JANE@friends.test", "@friends.test", "@FRIENDS.test"])
    @pytest.mark.parametrize("whole", [True, False])
    def test_rules_leave_who_is_on_it_alone(self, who: cast.Sender, entry: str, whole: bool) -> None:
        allow_list.add(caller=who.owner, address=entry, domain_id=None if whole else who.domain.id)
        end(who, DEAD)
        assert rows() == []
        assert models.Event.select().where(models.Event.kind == EventKind.BOUNCED).count() == 1

    def test_another_domain_is_not_meant(self, who: cast.Sender) -> None:
        allow_list.add(caller=who.owner, address="@other.test")
        allow_list.add(caller=cast.sender("stranger", "else.test").owner, address=JANE)
        end(who, DEAD)
        assert len(rows()) == 1

    def test_strikes_do_not_suppress_them_either(self, who: cast.Sender, tmp_path: Path) -> None:
        use_settings(tmp_path, STRIKES="1")
        allow_list.add(caller=who.owner, address=JANE)
        end(who, FULL)
        assert rows() == []

    def test_it_lifts_what_rules_did_and_keeps_what_people_wanted(self, who: cast.Sender) -> None:
        end(who, DEAD)
        for reason in (suppressions.UNSUBSCRIBE, suppressions.MANUAL):
            db.in_transaction(
                lambda tx, reason=reason: suppressions.add(
                    tx, account_id=who.owner.account_id, domain_id=0, address=JANE, reason=reason
                )
            )
        assert allow_list.add(caller=who.owner, address=JANE) == 1
        assert [row.reason for row in rows()] == ["unsubscribe", "manual"]
        with pytest.raises(Exception, match="suppression list"):
            messages.accept(who.caller, cast.draft())


class TestReports:
    """Reports that come back later lead to the same as replies do at once."""

    def _receive(self, who: cast.Sender, content: bytes) -> None:
        end(who, TAKEN)
        newest = models.Delivery.select().order_by(models.Delivery.id.desc()).first()
        inbound.receive(recipient=verp.encode(newest.id, "bounce.shop.test"), mail_from="", content=content)

    def test_a_bounce_names_its_rule_and_host(self, who: cast.Sender) -> None:
        self._receive(who, report())
        (row,) = rows()
        assert (row.rule, row.mx, row.message_id) == ("bounce:5.1.1", "store.friends.test", models.Message.get().id)

    def test_a_complaint_names_its_rule(self, who: cast.Sender) -> None:
        self._receive(who, complaint())
        (row,) = rows()
        assert (row.reason, row.rule, row.detail) == ("complaint", "complaint", "abuse")

    @pytest.mark.parametrize("content", [report(), complaint()])
    def test_the_allow_list_holds_for_them_and_the_event_is_told(self, who: cast.Sender, content: bytes) -> None:
        allow_list.add(caller=who.owner, address=JANE)
        self._receive(who, content)
        assert rows() == []
        kinds = {row.kind for row in models.Event.select()}
        assert kinds & {EventKind.BOUNCED, EventKind.COMPLAINED}

    def test_a_full_mailbox_is_a_strike(self, who: cast.Sender) -> None:
        self._receive(who, report(status="5.2.2", diagnostic="smtp; 552 5.2.2 mailbox full"))
        assert rows() == []
        assert [row.kind for row in models.Strike.select()] == [strikes.MAILBOX_FULL]
