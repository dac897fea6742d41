"""Validation of addresses against a DNS server and a history of the account's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import clock, errors
from gateway.services import suppressions, validations
from gateway.services.validations import Validation, Verdict
from models import database as db
from models.database import in_transaction
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer


@pytest.fixture
def dns(store: str, tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as server:
        for name in ("friends.test", "gmail.com", "mailinator.com", "gmial.com", "sub.mailinator.com"):
            server.add(name, "MX", f"10 mx.{name}")
        server.add("null.test", "MX", "0 .")
        server.add("bare.test", "A", "192.0.2.1")
        server.servfail("broken.test")
        use_settings(tmp_path, DNS=server.address)
        yield server


@pytest.fixture
def who(dns: DnsServer) -> cast.Sender:
    return cast.sender()


def _one(who: cast.Sender, email: str) -> Validation:
    (found,) = validations.validate(caller=who.owner, emails=[email])
    return found


def _codes(found: Validation) -> list[str]:
    return [reason.code for reason in found.reasons]


LABELLED = [
    ("jane.doe@friends.test", Verdict.VALID, []),
    ("Jane+label@Friends.Test", Verdict.VALID, []),
    ("o'neil@friends.test", Verdict.VALID, []),
    ("zoë@friends.test", Verdict.VALID, []),
    ("person@gmail.com", Verdict.VALID, []),
    ("jane", Verdict.INVALID, ["syntax"]),
    ("jane@", Verdict.INVALID, ["syntax"]),
    ("@friends.test", Verdict.INVALID, ["syntax"]),
    ("jane@friends", Verdict.INVALID, ["syntax"]),
    ("jane..doe@friends.test", Verdict.INVALID, ["syntax"]),
    ("jane doe@friends.test", Verdict.INVALID, ["syntax"]),
    ("a@b@friends.test", Verdict.INVALID, ["syntax"]),
    ("jane@-friends.test", Verdict.INVALID, ["syntax"]),
    ("x" * 65 + "@friends.test", Verdict.INVALID, ["syntax"]),
    ("jane@nowhere.test", Verdict.INVALID, ["no_mail_server"]),
    ("jane@null.test", Verdict.INVALID, ["null_mx"]),
    ("jane@bare.test", Verdict.VALID, ["no_mx"]),
    ("jane@broken.test", Verdict.UNKNOWN, ["dns_unavailable"]),
    ("jane@mailinator.com", Verdict.RISKY, ["disposable"]),
    ("jane@sub.mailinator.com", Verdict.RISKY, ["disposable"]),
    ("info@friends.test", Verdict.RISKY, ["role"]),
    ("postmaster+x@friends.test", Verdict.RISKY, ["role"]),
    ("jane@gmial.com", Verdict.RISKY, ["typo", "disposable"]),
    ("jane@gmail.con", Verdict.INVALID, ["no_mail_server", "typo"]),
    ("jane@hotmial.com", Verdict.INVALID, ["no_mail_server", "typo", "disposable"]),
]


def test_a_labelled_set(who: cast.Sender) -> None:
    found = validations.validate(caller=who.owner, emails=[email for email, _, _ in LABELLED])
    assert [(one.address, one.verdict, _codes(one)) for one in found] == LABELLED
    assert all(0.5 <= one.confidence <= 1 for one in found)


def test_what_is_told_beside_the_verdict(who: cast.Sender) -> None:
    found = _one(who, "Info@Gmail.com")
    assert (found.normalised, found.domain, found.mx) == ("info@gmail.com", "gmail.com", ["mx.gmail.com"])
    assert (found.role, found.free, found.disposable, found.syntax_ok) == (True, True, False, True)
    assert _one(who, "jane@gmial.com").suggestion == "jane@gmail.com"
    assert _one(who, "jane@friends.test").suggestion == ""
    # Of a good address without history nobody can be sure.
    assert _one(who, "jane@friends.test").confidence == 0.7


@pytest.mark.parametrize(
    ("reason", "verdict", "history"),
    [
        ("bounce", Verdict.INVALID, "bounced"),
        ("complaint", Verdict.RISKY, "complained"),
        ("unsubscribe", Verdict.RISKY, "unsubscribed"),
        ("manual", Verdict.RISKY, "suppressed"),
    ],
)
def test_what_became_of_earlier_mail(who: cast.Sender, reason: str, verdict: Verdict, history: str) -> None:
    stranger = cast.sender("stranger", "other.test")
    in_transaction(
        lambda tx: suppressions.add(
            tx, account_id=who.owner.account_id, domain_id=0, address="jane@friends.test", reason=reason
        )
    )
    found = _one(who, "Jane@friends.test")
    assert (found.verdict, found.history, found.confidence) == (verdict, history, 0.95)
    assert _one(stranger, "jane@friends.test").history == ""


@pytest.mark.parametrize(
    ("opened_days", "delivered_days", "history", "confidence"),
    [(3, 3, "engaged", 0.98), (300, 3, "delivered", 0.9), (300, 400, "", 0.7)],
)
def test_people_who_read(
    who: cast.Sender, opened_days: int, delivered_days: int, history: str, confidence: float
) -> None:
    now = clock.now_ms()
    in_transaction(
        lambda tx: tx.execute(
            "INSERT INTO engagement (account_id, address, mark, delivered_ms, opened_ms, clicked_ms, bounced_ms)"
            " VALUES (?, ?, '', ?, ?, 0, 0)",
            (
                who.owner.account_id, "jane@friends.test", now - delivered_days * clock.DAY_MS,
                now - opened_days * clock.DAY_MS,
            ),
        )
    )  # fmt: skip
    found = _one(who, "jane@friends.test")
    assert (found.verdict, found.history, found.confidence) == (Verdict.VALID, history, confidence)
    assert all(not reason.against for reason in found.reasons)


def test_bounds(who: cast.Sender, dns: DnsServer) -> None:
    assert validations.validate(caller=who.owner, emails=[]) == []
    with pytest.raises(errors.TooManyAtOnce):
        validations.validate(caller=who.owner, emails=["x"] * 501)
    twice = validations.validate(caller=who.owner, emails=["a@friends.test"] * 500)
    assert len(twice) == 500
    assert db.rows("SELECT COUNT(*) FROM suppression")[0][0] == 0
