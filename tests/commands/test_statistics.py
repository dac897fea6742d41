"""DomainStats, AggrEvents and the later statistics commands through `/api.php`."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from commands import exports
from gateway import clock
from gateway.services import domains, identity, ledger, messages
from gateway.services.ledger import Fact
from models import database as db
from models.domain import SenderDomain
from models.vocabulary import EventKind
from tests import cast
from tests.web.conftest import Account

COMMANDS = ("DomainStats", "AggrEvents", "RecipientDomainStats", "ListRecipientDomains", "ExportEvents")


def call(client: FlaskClient, who: Account, command: str, **params: Any) -> dict[str, Any]:
    sent = {"APIKey": who.api_key, "Command": f"EmailGateway.{command}", **params}
    by_form = client.post("/api.php", data=sent)
    by_json = client.post("/api.php", json=sent)
    assert (by_form.status_code, by_json.status_code) == (200, 200)
    assert by_form.get_json() == by_json.get_json()
    found: dict[str, Any] = by_form.get_json()
    return found


@pytest.fixture
def domain(owner: Account) -> SenderDomain:
    ledger.forget_words()
    row = domains.add(caller=identity.for_account(owner.id), name="shop.test", trusted=True, dkim=cast.signing_keys())
    caller = replace(identity.for_account(owner.id), domain_id=row.id, surface="octeth")
    messages.accept(caller, cast.draft(subject="=HYPERLINK(1)", tags=["spring"]))
    message_id = db.rows("SELECT MAX(id) FROM message")[0][0]
    facts = [
        Fact(
            owner.id, row.id, kind, clock.now_ms(), message_id, rcpt="jane@friends.test", tags=["spring"],
            mx="mx1.friends.test",
        )
        for kind in (EventKind.DELIVERED, EventKind.OPENED)
    ]  # fmt: skip
    db.in_transaction(lambda tx: ledger.record(tx, facts))
    return row


def test_domain_stats(client: FlaskClient, owner: Account, domain: SenderDomain) -> None:
    answer = call(client, owner, "DomainStats", DomainID=str(domain.id))
    assert (answer["Success"], answer["ErrorCode"]) == (True, 0)
    assert answer["Stats"] == {
        "Sent": 1, "Accepted": 1, "Delivered": 1, "Bounced": 0, "Failed": 0, "Deferred": 0, "Suppressed": 0,
        "Opened": 1, "Clicked": 0, "Complained": 0, "Unsubscribed": 0, "Canceled": 0, "Queued": 0,
    }  # fmt: skip
    assert set(answer["ComparisonStats"]) == {"PreviousPeriod"}
    assert set(answer["ComparisonStats"]["PreviousPeriod"].values()) == {0}
    assert answer["TagStats"] == {"spring": answer["Stats"]}
    past = call(client, owner, "DomainStats", DomainID=domain.id, StartDate="2023-01-01", EndDate="2023-01-31")
    assert set(past["Stats"].values()) == {0}
    assert past["TagStats"] == {}


def test_aggr_events(client: FlaskClient, owner: Account, domain: SenderDomain) -> None:
    today = clock.sql_text(clock.now_ms())[:10]
    answer = call(
        client, owner, "AggrEvents", DomainID=domain.id, StartDate=today, EndDate=today, AggregatedField="eventType",
        AggregateSize=10,
    )  # fmt: skip
    assert answer["AggBuckets"] == [{"key": key, "doc_count": 1} for key in ("accepted", "delivery", "open")]
    assert len(call(client, owner, "AggrEvents", DomainID=domain.id, AggregateSize=2)["AggBuckets"]) == 2
    assert call(client, owner, "AggrEvents", DomainID=domain.id, AggregatedField="mx")["AggBuckets"] == [
        {"key": "mx1.friends.test", "doc_count": 2}
    ]


def test_the_later_commands(client: FlaskClient, owner: Account, domain: SenderDomain) -> None:
    account = call(client, owner, "AccountStats")
    assert account["Stats"]["Delivered"] == 1
    assert account["DomainStats"][0]["Domain"] == "shop.test"
    series = call(client, owner, "DailySeries", DomainID=domain.id)["Series"]
    assert len(series) == 28
    assert (series[-1]["Date"], series[-1]["Opened"]) == (clock.sql_text(clock.now_ms())[:10], 1)
    assert call(client, owner, "DailySeries")["Series"] == series
    listed = call(client, owner, "ListRecipientDomains", DomainID=domain.id)
    assert (listed["TotalRecords"], listed["RecipientDomains"]) == (1, ["friends.test"])
    rows = call(client, owner, "RecipientDomainStats", DomainID=domain.id)["RecipientDomainStats"]
    assert (rows[0]["RecipientDomain"], rows[0]["Sent"], rows[0]["Opened"]) == ("friends.test", 1, 1)


def test_export_as_csv(client: FlaskClient, owner: Account, domain: SenderDomain) -> None:
    first = call(client, owner, "ExportEvents", DomainID=domain.id, RetrieveCount=2)
    rest = call(client, owner, "ExportEvents", DomainID=domain.id, RetrieveCount=2, Cursor=first["NextCursor"])
    assert (first["Records"], rest["Records"], rest["NextCursor"]) == (2, 1, "")
    rows = list(csv.DictReader(io.StringIO(first["Data"] + rest["Data"])))
    assert [row["EventType"] for row in rows] == ["open", "delivery", "accepted"]
    assert {row["Subject"] for row in rows} == {"'=HYPERLINK(1)"}
    assert [row["Sequence"] for row in rows] == ["3", "2", "1"]


def test_export_as_lines(client: FlaskClient, owner: Account, domain: SenderDomain) -> None:
    answer = call(client, owner, "ExportEvents", DomainID=domain.id, Format="JSONL", Event="open", Query="tag:spring")
    found = [json.loads(line) for line in answer["Data"].splitlines()]
    assert [row["EventType"] for row in found] == ["open"]
    assert found[0]["Message"]["Headers"]["Subject"] == "=HYPERLINK(1)"
    assert found[0]["Sequence"] == 3


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "＝1"])
def test_formulas_are_made_harmless(text: str) -> None:
    assert exports.harmless(text) == "'" + text
    assert exports.harmless("a" + text) == "a" + text


@pytest.mark.parametrize("command", COMMANDS)
def test_codes(client: FlaskClient, owner: Account, operator: Account, domain: SenderDomain, command: str) -> None:
    answers = [call(client, owner, command), call(client, owner, command, DomainID=10**9)]
    answers.append(call(client, operator, command, DomainID=domain.id))
    assert [(answer["Success"], answer["ErrorCode"]) for answer in answers] == [(False, 1), (False, 2), (False, 2)]
    documented = command in ("DomainStats", "AggrEvents")
    assert [("ErrorMessage" in answer) for answer in answers] == [documented] * 3
    if documented:
        assert answers[0]["ErrorMessage"] == "Required parameter missing: DomainID"
    assert call(client, owner, command, DomainID=domain.id, StartDate="yesterday")["ErrorCode"] == 100010


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("AggrEvents", {"AggregatedField": "nonsense"}),
        ("AggrEvents", {"AggregateSize": "many"}),
        ("ExportEvents", {"Format": "xls"}),
        ("ExportEvents", {"Query": "foo:bar"}),
        ("ExportEvents", {"Cursor": "x"}),
        ("DomainStats", {"StartDate": "0001-01-01"}),
    ],
)
def test_what_cannot_be_understood(
    client: FlaskClient, owner: Account, domain: SenderDomain, command: str, params: dict[str, Any]
) -> None:
    assert call(client, owner, command, DomainID=domain.id, **params)["ErrorCode"] == 100010


def test_a_strangers_domain_has_no_series(client: FlaskClient, operator: Account, domain: SenderDomain) -> None:
    assert call(client, operator, "DailySeries", DomainID=domain.id)["ErrorCode"] == 2


def test_times_hours_and_who_opened(client: FlaskClient, owner: Account, domain: SenderDomain) -> None:
    ((message_id,),) = db.rows("SELECT MAX(id) FROM message")
    told = {"waited_ms": 900}, {"waited_ms": 2000}
    facts = [
        Fact(owner.id, domain.id, EventKind.DELIVERED, clock.now_ms(), message_id, rcpt="a@friends.test", **more)
        for more in told
    ]
    facts.append(Fact(owner.id, domain.id, EventKind.OPENED, clock.now_ms(), message_id, data={"verdict": "machine"}))
    db.in_transaction(lambda tx: ledger.record(tx, facts))
    for found in (call(client, owner, "DomainStats", DomainID=domain.id), call(client, owner, "AccountStats")):
        times = found["DeliveryTimes"]
        assert (times["Count"], times["P50Ms"], times["P99Ms"]) == (2, 1024, 2048)
        assert times["Histogram"] == [{"UpToMs": 1024, "Count": 1}, {"UpToMs": 2048, "Count": 1}]
        assert found["Engagement"]["Opened"] == {"All": 2, "Human": 0, "Machine": 1, "Unknown": 1}
    series = call(client, owner, "HourlySeries", DomainID=domain.id)["Series"]
    assert len(series) == 48
    assert sum(hour["Delivered"] for hour in series) == 3
    assert sum(hour["Sent"] for hour in series) == 1
    assert call(client, owner, "HourlySeries", DomainID=987_654)["ErrorCode"] == 2
