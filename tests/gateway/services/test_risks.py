"""Risk before sending, and the policy that warns or holds when it is sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import models
from gateway import clock
from gateway.mail.content_score import Content
from gateway.services import account_options, campaigns, expansions, explanations, held, identity, messages, risks
from gateway.services.identity import Caller
from models.database import in_transaction
from models.vocabulary import CAMPAIGN_PAUSED, CAMPAIGN_SENDING, DeliveryState, EventKind
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services import test_campaigns
from tests.peers.dns_server import DnsServer

BAD = '<a href="https://bit.ly/x">https://bank.test</a><script>x()</script>' * 3
GOOD = Content("Your order", None, "Thank you for your order, it is on its way.")


def _history(who: cast.Sender, **counts: int) -> None:
    day = clock.day_number(clock.now_ms()) - 3

    def work(tx: object) -> None:
        for name, n in counts.items():
            tx.execute(  # type: ignore[attr-defined]
                "INSERT INTO counter (domain_id, day, kind, tag, n) VALUES (?, ?, ?, '', ?)",
                (who.domain.id, day, int(EventKind[name.upper()]), n),
            )

    in_transaction(work)
    risks.forget()


def _with(who: cast.Sender, **options: bool) -> Caller:
    account_options.change(email=who.owner.email, changed=options)
    fresh = identity.for_account(who.owner.account_id)
    return replace(fresh, domain_id=who.domain.id, surface="octeth")


@pytest.mark.usefixtures("store")
class TestAssessing:
    def test_nothing_speaks_against_good_mail(self) -> None:
        who = cast.sender()
        found = risks.assess(caller=who.owner, recipients=[], content=GOOD)
        assert (found.level, found.action) == ("low", "allow")

    @pytest.mark.parametrize(
        ("counts", "code"),
        [
            ({"delivered": 10_000, "complained": 40}, "complaint_rate"),
            ({"delivered": 10_000, "bounced": 900}, "bounce_rate"),
            ({"delivered": 10_000, "bounced": 4000, "complained": 40}, "health"),
        ],
    )
    def test_figures_of_the_account(self, counts: dict[str, int], code: str) -> None:
        who, stranger = cast.sender(), cast.sender("stranger", "other.test")
        _history(who, **counts)
        codes = {factor.code for factor in risks.assess(caller=who.owner, recipients=[], content=GOOD).factors}
        assert code in codes
        theirs = {f.code for f in risks.assess(caller=stranger.owner, recipients=[], content=GOOD).factors}
        assert code not in theirs

    def test_recipients_and_content(self, tmp_path: Path) -> None:
        who = cast.sender()
        with DnsServer() as dns:
            dns.add("friends.test", "MX", "10 mx.friends.test")
            use_settings(tmp_path, DNS=dns.address)
            found = risks.assess(
                caller=who.owner, recipients=["a@friends.test", "x", "y", "z"], content=Content("Hi", BAD, "Hi")
            )
        points = {factor.code: factor.points for factor in found.factors}
        assert points["invalid_recipients"] == 45
        assert points["content"] > 10
        assert found.level in ("high", "critical")
        assert all(factor.advice for factor in found.factors)

    def test_a_jump_in_volume(self) -> None:
        who = cast.sender()
        _history(who, accepted=2700, delivered=2700)
        few = risks.at_sending(_with(who, risk_warn=True), recipients=10, content=GOOD)
        many = risks.at_sending(_with(who, risk_warn=True), recipients=5000, content=GOOD)
        assert few is not None and many is not None
        assert "volume_jump" not in {factor.code for factor in few.factors}
        assert "volume_jump" in {factor.code for factor in many.factors}


@pytest.mark.usefixtures("store")
class TestPolicy:
    def _risky(self, who: cast.Sender) -> None:
        _history(who, delivered=10_000, bounced=4000, complained=100)

    def _decision(self, who: cast.Sender, caller: Caller, sent: str) -> list[str]:
        found = explanations.explain(caller=who.owner, message_id=sent)
        return [verdict.decision for verdict in found.gates if verdict.gate == "risk"]

    def test_without_one_nothing_is_looked_at(self) -> None:
        who = cast.sender()
        self._risky(who)
        sent = messages.accept(who.caller, cast.draft(html=BAD)).message_id
        assert self._decision(who, who.caller, sent) == []
        assert models.Delivery.get().state == DeliveryState.QUEUED

    def test_it_warns(self) -> None:
        who = cast.sender()
        self._risky(who)
        caller = _with(who, risk_warn=True)
        sent = messages.accept(caller, cast.draft(html=BAD)).message_id
        assert self._decision(who, caller, sent) == ["warned"]
        assert models.Delivery.get().state == DeliveryState.QUEUED

    def test_it_holds_until_a_person_releases(self) -> None:
        who = cast.sender()
        self._risky(who)
        caller = _with(who, risk_hold=True)
        sent = messages.accept(caller, cast.draft(html=BAD)).message_id
        row = models.Delivery.get()
        assert (row.state, row.due_ms) == (DeliveryState.HELD, row.expires_ms)
        assert self._decision(who, caller, sent) == ["held"]
        text = explanations.explain(caller=who.owner, message_id=sent).text
        assert "held for a person" in text
        assert "its risk is critical" in text
        total, listed = held.list_(caller=who.owner)
        assert (total, listed[0].message_id) == (1, sent)
        assert held.release(caller=who.owner, message_id=sent) == 1
        assert models.Delivery.get().due_ms <= clock.now_ms()

    def test_a_list_waits_as_a_whole(self) -> None:
        who = cast.sender()
        self._risky(who)
        caller = _with(who, risk_hold=True)
        audience = test_campaigns.news(who, 5)
        draft = cast.draft(html=BAD, to=[], list_id=audience.id)
        sent = messages.accept(caller, draft).message_id
        assert expansions.drain(1) == 0
        assert models.Delivery.select().count() == 0
        assert self._decision(who, caller, sent) == ["held"]
        assert held.release(caller=who.owner, message_id=sent) == 5
        expansions.drain(5)
        assert models.Delivery.select().count() == 5
        assert held.release(caller=who.owner, message_id=sent) == 0

    def test_a_campaign_is_paused_with_the_reason(self) -> None:
        who = cast.sender()
        self._risky(who)
        _with(who, risk_hold=True)
        campaign = test_campaigns.made(who, 5, html=BAD)
        found = test_campaigns.launched(who, campaign)
        assert (found.state, found.recipients) == (CAMPAIGN_PAUSED, 5)
        assert found.cause.startswith("its risk is critical")
        assert expansions.drain(1) == 0
        assert campaigns.resume(caller=who.owner, campaign=found).state == CAMPAIGN_SENDING
        expansions.drain(5)
        assert models.Delivery.select().count() == 5

    def test_good_mail_passes(self) -> None:
        who = cast.sender()
        caller = _with(who, risk_hold=True, risk_warn=True)
        sent = messages.accept(caller, cast.draft()).message_id
        assert self._decision(who, caller, sent) == ["passed"]
        assert models.Delivery.get().state == DeliveryState.QUEUED
