"""`DryRun` on a send: what is answered, what is refused, and that nothing stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import models
from gateway.services import identity, suppressions, templates
from models import database as db
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer
from tests.web.rest.end_user.conftest import Sender


@pytest.fixture(autouse=True)
def dns(sender: Sender, tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as running:
        use_settings(tmp_path, DNS=running.address)
        yield running


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize(("name", "value"), [("DryRun", True), ("dryrun", "1"), ("DRYRUN", "true")])
def test_what_a_send_would_do(sender: Sender, name: str, value: Any, form: bool) -> None:
    answer = sender.send(form=form, **{name: value}, Tags=["a"])
    told = answer.json()
    assert (answer.status_code, told["DryRun"], told["Decision"]) == (200, True, "accepted")
    assert [one["Gate"] for one in told["Verdicts"]] == [
        "auth", "idempotency", "validation", "sender_domain", "suppression", "quota", "schedule", "stream", "route",
        "signing",
    ]  # fmt: skip
    assert told["Recipients"] == [{"Recipient": "recipient@example.org", "Fate": "sent", "Reason": "", "Detail": ""}]
    assert told["Route"]["Transport"] == "capture"
    assert told["Route"]["RequireTLS"] is False
    (place,) = told["Route"]["Destinations"]
    assert (place["Domain"], place["TLS"]["Policy"]) == ("example.org", "none")
    assert "Subject: Hello World\r\n" in told["RenderedHeaders"]
    assert told["Size"] > len(told["RenderedHeaders"])
    assert told["Alignment"]["DMARC"]["Result"] == "fail"  # neither a key nor a record is there
    assert "MessageID" not in told
    assert sender.stored() == []


@pytest.mark.parametrize("value", [False, "0", "", None])
def test_without_it_the_message_is_sent(sender: Sender, value: Any) -> None:
    assert "MessageID" in sender.send(DryRun=value).json()
    assert sender.count("message") == 1


def test_a_word_that_is_no_answer_sends_nothing(sender: Sender) -> None:
    answer = sender.send(DryRun="perhaps")
    assert (answer.status_code, answer.json()["Errors"][0]["Code"]) == (422, 100010)
    assert sender.stored() == []


def test_a_refusal_is_the_documented_error_and_says_which_gate(sender: Sender) -> None:
    db.in_transaction(
        lambda tx: suppressions.add(
            tx, account_id=sender.account.id, domain_id=0, address="recipient@example.org", reason="bounce"
        )
    )
    cases: list[tuple[dict[str, Any], int, list[int], str]] = [
        ({}, 409, [14], "suppression"),
        ({"Subject": None, "To": None}, 422, [8, 20], "validation"),
        ({"From": {"email": "a@other.test", "name": "A"}}, 422, [3], "sender_domain"),
        ({"SenderAPIKey": "wrong"}, 401, [13], "auth"),
        ({"TemplateID": 999_999}, 422, [15], "validation"),
    ]
    for changed, status, codes, gate in cases:
        told = sender.send(DryRun=True, **changed)
        real = sender.send(**changed)
        assert (told.status_code, [one["Code"] for one in told.json()["Errors"]]) == (status, codes), changed
        assert (real.status_code, real.json()["Errors"]) == (status, told.json()["Errors"])
        assert "Verdicts" not in real.json()
        refused = [one["Gate"] for one in told.json()["Verdicts"] if one["Decision"] == "refused"]
        assert refused == [gate], changed
        assert (told.json()["DryRun"], told.json()["Decision"]) == (True, "refused")
    assert sender.stored() == []


def test_a_quota_is_not_spent_and_a_key_not_kept(sender: Sender) -> None:
    sender.change(sender.plan, emails_day=1)
    headers = {"Idempotency-Key": "order-1"}
    for _ in range(3):
        told = sender.send(DryRun=True, headers=headers).json()
        assert {one["Gate"]: one for one in told["Verdicts"]}["quota"]["Details"] == {"left": {"day": 0}}
    assert models.QuotaUsage.select().count() == 0
    sent = sender.send(headers=headers)
    assert "Idempotent-Replayed" not in sent.headers
    told = sender.send(DryRun=True, headers=headers).json()
    assert (told["Decision"], told["MessageID"]) == ("replayed", sent.json()["MessageID"])
    refused = sender.send(DryRun=True)
    assert (refused.status_code, refused.json()["Errors"][0]["Code"]) == (429, 17)
    assert int(refused.headers["Retry-After"]) > 0


def test_the_same_request_is_answered_when_its_template_is_gone(sender: Sender) -> None:
    caller = identity.for_account(sender.account.id)
    made = templates.add(caller=caller, name="T", subject="Hi", html="<p>Hi</p>", text=None)
    headers = {"Idempotency-Key": "order-2"}
    first = sender.send(TemplateID=made.id, headers=headers)
    templates.delete(caller=caller, template_id=made.id)
    again = sender.send(TemplateID=made.id, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    other = sender.send(TemplateID=made.id, headers={"Idempotency-Key": "order-3"})
    assert other.json()["Errors"][0]["Code"] == 15
