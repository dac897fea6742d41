"""Servers that misbehave, through the whole engine: each delivery ends in the right state and keeps no other."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

import models
from gateway import clock
from gateway.dns import resolver as dns_resolver
from gateway.mail.draft import Mailbox
from gateway.services import deliveries, messages
from gateway.transports.outcome import Result
from gateway.transports.smtp_options import Timeouts
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import use_settings
from tests.gateway.transports.test_hostile_servers import BEHAVIOURS, OPENING, PHASES
from tests.peers.dns_server import DnsServer
from tests.peers.smtp_sink import SmtpSink

_STATE = {
    Result.DELIVERED: (DeliveryState.DELIVERED, EventKind.DELIVERED),
    Result.BOUNCED: (DeliveryState.BOUNCED, EventKind.BOUNCED),
    Result.DEFERRED: (DeliveryState.DEFERRED, EventKind.DEFERRED),
    Result.IN_DOUBT: (DeliveryState.DEFERRED, EventKind.DEFERRED),
}
HEALTHY = 40


@dataclass(frozen=True)
class Case:
    """What the server of one recipient domain does, and in which phase; `sink` None: nobody listens there."""

    phase: str
    behaviour: str
    domain: str
    sink: SmtpSink | None

    @property
    def rcpt(self) -> str:
        return f"jane@{self.domain}"

    @property
    def expected(self) -> Result:
        if self.phase == "quit":
            return Result.DELIVERED
        if self.behaviour == "5xx" and self.phase not in (*OPENING, "connect"):
            return Result.BOUNCED
        if self.phase == "end" and self.behaviour not in ("4xx", "421", "421 and stays"):
            return Result.IN_DOUBT
        return Result.DEFERRED


@pytest.fixture
def cases(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Case]]:
    """A domain, an exchanger and a server for each behaviour in each phase; `healthy.test` has one that is well."""
    patience = {"connect": 3.0, "greeting": 3.0, "command": 3.0, "data": 3.0, "block": 3.0, "end": 3.0, "quit": 1.0}
    defaults = tuple(patience.get(field.name, field.default) for field in dataclasses.fields(Timeouts))
    monkeypatch.setattr(Timeouts.__init__, "__defaults__", defaults)
    monkeypatch.setattr(dns_resolver, "_used", None)
    with ExitStack() as stack:
        dns = stack.enter_context(DnsServer())
        healthy = stack.enter_context(SmtpSink(host="127.0.1.1"))
        use_settings(
            tmp_path, DELIVERY="direct", DNS=dns.address, MX_PORT=str(healthy.port), DELIVERY_ALLOW="127.0.0.0/8",
            DELIVER_CONNECTIONS="16",
        )  # fmt: skip
        made = []
        wanted = [(phase, name) for phase in (*PHASES, "quit") for name in BEHAVIOURS] + [("connect", "refused")]
        for number, (phase, behaviour) in enumerate([("", ""), *wanted], 1):
            address = f"127.0.1.{number}"
            domain = f"case{number}.test" if phase else "healthy.test"
            dns.add(domain, "MX", f"10 mx.{domain}")
            dns.add(f"mx.{domain}", "A", address)
            if phase:
                sink = None
                if phase != "connect":
                    sink = stack.enter_context(SmtpSink(host=address, port=healthy.port))
                    sink.always(phase, BEHAVIOURS[behaviour](phase))
                made.append(Case(phase, behaviour, domain, sink))
        yield made
        deliveries.close()


def _drain() -> None:
    while deliveries.drain(0.2):
        pass
    assert deliveries.engine().wait_idle(60)
    deliveries.close()


def test_each_behaviour_in_each_phase_ends_in_the_right_state(cases: list[Case]) -> None:
    who = cast.sender()
    for at, case in enumerate(cases):
        messages.accept(who.caller, cast.draft(to=[Mailbox(case.rcpt)]))
        if at % (len(cases) // HEALTHY) == 0:
            messages.accept(who.caller, cast.draft(to=[Mailbox(f"well{at}@healthy.test")]))
    before = clock.now_ms()
    _drain()
    rows = {row.rcpt: row for row in models.Delivery.select()}
    attempts = {row.delivery_id: row for row in models.Attempt.select()}
    assert len(attempts) == models.Attempt.select().count() == len(rows), "one attempt each"
    wrong = []
    for case in cases:
        row = rows[case.rcpt]
        state, kind = _STATE[case.expected]
        attempt = attempts[row.id]
        event = models.Event.get(models.Event.delivery_id == row.id)
        told = (case.phase, case.behaviour, DeliveryState(row.state).name, attempt.outcome, attempt.reply)
        if (row.state, event.kind, attempt.outcome) != (state, kind, case.expected.value):
            wrong.append(told)
        elif state is DeliveryState.DEFERRED:
            # A time in the future, on the schedule, that the event tells.
            data = orjson.loads(event.data)
            if not (before + 45_000 < row.due_ms < clock.now_ms() + 75_000 and data["until_ms"] == row.due_ms):
                wrong.append((*told, row.due_ms - before))
            assert data.get("in_doubt", False) == (case.expected is Result.IN_DOUBT)
            assert data["reason"]
        else:
            assert (row.due_ms, row.lane_id) == (None, None)
    assert wrong == []
    # They all stand in one lane: nobody's server kept the others.
    assert len({row.lane_id for row in rows.values() if row.lane_id}) == 1
    assert {row.state for rcpt, row in rows.items() if rcpt.startswith("well")} == {DeliveryState.DELIVERED}


def test_once_the_servers_are_well_everything_arrives_with_its_message_id(cases: list[Case]) -> None:
    who = cast.sender()
    some = [case for case in cases if case.sink is not None and case.behaviour in ("close", "reset", "garbage", "5xx")]
    ids = {case.rcpt: messages.accept(who.caller, cast.draft(to=[Mailbox(case.rcpt)])).message_id for case in some}
    _drain()
    for case in some:
        assert case.sink is not None
        case.sink.behave()
    models.Delivery.update(due_ms=1).where(models.Delivery.state == DeliveryState.DEFERRED).execute()
    _drain()
    for case in some:
        assert case.sink is not None
        bounced = case.expected is Result.BOUNCED
        row = models.Delivery.get(models.Delivery.rcpt == case.rcpt)
        assert row.state == (DeliveryState.BOUNCED if bounced else DeliveryState.DELIVERED), case
        seen = [re.findall(rb"^Message-ID: <([^@]+)@", one.data, re.MULTILINE) for one in case.sink.transactions]
        # What was in doubt had arrived and comes once more, as the same message.
        copies = 2 if case.expected is Result.IN_DOUBT else 0 if bounced and case.phase != "end" else 1
        assert seen == [[ids[case.rcpt].encode()]] * copies, case
