"""Recipients of the simulator through the engine: chosen fates, by the code that real ones go through."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import models
from gateway import clock, errors
from gateway.mail.draft import Mailbox
from gateway.services import deliveries, messages, simulations
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import use_settings
from tests.peers.smtp_sink import SmtpSink

DOMAIN = "simulator.test"


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as peer:
        yield peer


@pytest.fixture
def engine(store: str, sink: SmtpSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    use_settings(tmp_path, DELIVERY=f"smtp://127.0.0.1:{sink.port}")
    monkeypatch.setattr(simulations, "REPORT_AFTER_S", 0.1)
    yield
    deliveries.close()


def _drain() -> None:
    while deliveries.drain(0.1):
        pass
    assert deliveries.engine().wait_idle(20)
    deliveries.close()


def _fate() -> DeliveryState:
    return DeliveryState(models.Delivery.get().state)


def _kinds() -> list[EventKind]:
    return [EventKind(row.kind) for row in models.Event.select().order_by(models.Event.id)][1:]


def _until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not done() and time.monotonic() < end:
        time.sleep(0.02)
    assert done()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("local", "state", "kinds"),
    [
        ("delivered", DeliveryState.DELIVERED, [EventKind.DELIVERED]),
        ("Delivered+order.7", DeliveryState.DELIVERED, [EventKind.DELIVERED]),
        ("bounce", DeliveryState.BOUNCED, [EventKind.BOUNCED]),
        ("soft-bounce", DeliveryState.BOUNCED, [EventKind.BOUNCED]),
        ("nobody", DeliveryState.BOUNCED, [EventKind.BOUNCED]),
    ],
)
def test_at_once(sink: SmtpSink, local: str, state: DeliveryState, kinds: list[EventKind]) -> None:
    who = cast.sender()
    messages.accept(who.caller, cast.draft(to=f"{local}@{DOMAIN}"))
    _drain()
    assert (_fate(), _kinds()) == (state, kinds)
    assert sink.messages == []
    # It is there to be written to again, whatever became of the first.
    assert models.Suppression.select().count() == models.Strike.select().count() == 0
    messages.accept(who.caller, cast.draft(to=f"{local}@{DOMAIN}"))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("local", "kind"), [("complaint", EventKind.COMPLAINED), ("late-bounce", EventKind.BOUNCED)])
def test_a_moment_later(local: str, kind: EventKind) -> None:
    messages.accept(cast.sender().caller, cast.draft(to=f"{local}@{DOMAIN}"))
    _drain()
    assert _fate() is DeliveryState.DELIVERED
    _until(lambda: len(_kinds()) == 2)
    assert sorted(_kinds()) == sorted([EventKind.DELIVERED, kind])


@pytest.mark.usefixtures("engine")
def test_refused_for_as_long_as_its_name_says() -> None:
    messages.accept(cast.sender().caller, cast.draft(to=f"defer-90s@{DOMAIN}"))
    before = clock.now_ms()
    _drain()
    row = models.Delivery.get()
    assert row.state == DeliveryState.DEFERRED
    assert before + 90_000 <= row.due_ms <= clock.now_ms() + 110_000
    models.Delivery.update(due_ms=clock.now_ms()).execute()
    _drain()
    assert (_fate(), _kinds()) == (DeliveryState.DELIVERED, [EventKind.DEFERRED, EventKind.DELIVERED])


@pytest.mark.usefixtures("engine")
def test_in_doubt_is_tried_again() -> None:
    messages.accept(cast.sender().caller, cast.draft(to=f"in-doubt@{DOMAIN}"))
    _drain()
    assert models.Attempt.get().outcome == "in_doubt"
    models.Delivery.update(due_ms=clock.now_ms()).where(models.Delivery.due_ms.is_null(False)).execute()
    _drain()
    assert _fate() is DeliveryState.DELIVERED


@pytest.mark.usefixtures("engine")
def test_suppressed() -> None:
    who = cast.sender()
    with pytest.raises(errors.SuppressedRecipient):
        messages.accept(who.caller, cast.draft(to=f"suppressed@{DOMAIN}"))
    sent = messages.accept(
        who.caller, cast.draft(to=[Mailbox(f"suppressed+a@{DOMAIN}"), Mailbox(f"delivered@{DOMAIN}")])
    )
    assert sent.suppressed == [f"suppressed+a@{DOMAIN}"]


@pytest.mark.usefixtures("store")
def test_without_a_domain_there_is_none(tmp_path: Path, sink: SmtpSink) -> None:
    use_settings(tmp_path, DELIVERY=f"smtp://127.0.0.1:{sink.port}", SIMULATOR_DOMAIN="off")
    try:
        messages.accept(cast.sender().caller, cast.draft(to=f"bounce@{DOMAIN}"))
        _drain()
        assert [one.rcpts for one in sink.wait_for(1)] == [[f"bounce@{DOMAIN}"]]
    finally:
        deliveries.close()
