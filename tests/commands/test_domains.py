from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from commands.dispatch import dispatch
from gateway import clock
from gateway.services import domains, identity, keys
from gateway.services.identity import Caller
from models import database as db
from models.account import Account
from models.domain import SenderDomain
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer

Call = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def dns(store: str, tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as running:
        use_settings(tmp_path, DNS=running.address)
        yield running


@pytest.fixture
def owner(dns: DnsServer) -> Caller:
    return cast.account("owner")


def _caller(who: Caller) -> Call:
    """Ask as that account; the answer's body, after a look at the HTTP status."""
    _, key = db.in_transaction(lambda tx: keys.create_key(tx, account_id=who.account_id))

    def call(name: str, **params: Any) -> dict[str, Any]:
        fields = {"command": f"EmailGateway.{name}", "apikey": key}
        fields |= {param.lower(): value for param, value in params.items()}
        answer = dispatch(fields, ip="127.0.0.1", request_id="test")
        assert answer.status == 200
        return answer.body

    return call


@pytest.fixture
def call(owner: Caller) -> Call:
    return _caller(owner)


def _add(owner: Caller, name: str = "example.com") -> SenderDomain:
    return domains.add(caller=owner, name=name, dkim=cast.signing_keys())


def _publish(dns: DnsServer, domain: dict[str, Any], but: tuple[str, ...] = ()) -> None:
    for host, (type_, value) in domain["VerificationMeta"]["DNSRecords"].items():
        if not host.startswith(but):
            dns.set(host, type_, value)


def test_the_way_of_a_domain_from_added_to_enabled(call: Call, dns: DnsServer) -> None:
    added = call("AddDomain", DomainName="Example.com")
    number = added["NewSenderDomainID"]
    assert (added["Success"], added["ErrorCode"], type(number)) == (True, 0, int)
    assert (
        added["Domain"]
        | {
            "DomainName": "example.com",
            "SenderDomain": "example.com",
            "VerificationStatus": "Pending",
            "DKIMStatus": "Pending",
            "SPFStatus": "Pending",
            "Status": "Approval Pending",
        }
        == added["Domain"]
    )

    shown = call("GetDomain", DomainID=number)["Domain"]
    assert shown == added["Domain"]
    assert (shown["DomainID"], shown["IsActive"]) == (number, False)
    records = shown["VerificationMeta"]["DNSRecords"]
    assert [type_ for type_, _ in records.values()] == ["TXT", "TXT", "TXT", "CNAME", "TXT", "TXT", "CNAME"]

    missing = call("VerifyDomain", DomainID=str(number))
    assert missing["Success"] is True
    assert missing["Domain"]["Status"] == "Approval Pending"
    assert [result["Verified"] for result in missing["DNSVerificationResults"]] == [False] * 7
    assert "no TXT record" in missing["Domain"]["VerificationMeta"]["Notes"]["_commandpost.example.com"]

    _publish(dns, shown)
    verified = call("VerifyDomain", DomainID=str(number))
    assert (verified["Success"], verified["ErrorCode"]) == (True, 0)
    assert verified["Domain"] | {"DomainID": str(number), "Status": "Enabled", "IsActive": True} == verified["Domain"]
    assert verified["DNSVerificationResults"] == [
        {"Host": host, "Type": type_, "Value": value, "Verified": True} for host, (type_, value) in records.items()
    ]
    assert verified["Domain"]["PolicyMeta"] == {"SPF": "Verified", "DKIM": "Verified", "DMARC": "Verified"}
    assert call("GetDomain", DomainID=number)["Domain"]["IsActive"] is True


def test_get_domains_has_every_documented_key_and_type(call: Call, owner: Caller) -> None:
    assert call("GetDomains") == {"Success": True, "ErrorCode": 0, "Domains": []}
    pending = _add(owner, "pending.test")
    trusted = domains.add(caller=owner, name="trusted.test", trusted=True, dkim=cast.signing_keys())
    found = call("GetDomains")["Domains"]
    assert [(d["DomainID"], d["DomainName"], d["Verified"], d["Active"]) for d in found] == [
        (str(pending.id), "pending.test", False, False),
        (str(trusted.id), "trusted.test", True, True),
    ]
    for item in found:
        assert item["SenderDomain"] == item["DomainName"]
        options = {"LinkTracking": True, "OpenTracking": True, "UnsubscribeLink": False, "RequireTLS": False}
        assert item["Options"] == options | {
                "TrackingDomain": "", "TrackingPrivacy": False, "TextLinkTracking": False, "HoneypotLink": False,
            }  # fmt: skip
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", item["CreatedAt"])
        assert len(item["VerificationMeta"]["DNSRecords"]) == 7
        assert set(item["PolicyMeta"]) == {"SPF", "DKIM", "DMARC"}
    assert [d["Status"] for d in found] == ["Approval Pending", "Enabled"]


@pytest.mark.parametrize(("status", "shown"), [("disabled", "Disabled"), ("suspended", "Suspended")])
def test_a_stopped_domain_is_not_active(call: Call, owner: Caller, status: str, shown: str) -> None:
    domain = _add(owner)
    SenderDomain.update(status=status).where(SenderDomain.id == domain.id).execute()
    found = call("GetDomain", DomainID=domain.id)["Domain"]
    assert (found["Status"], found["IsActive"]) == (shown, False)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, 1),
        ({"DomainName": ""}, 1),
        ({"DomainName": "  "}, 1),
        ({"DomainName": None}, 1),
        ({"DomainName": "com"}, 2),
        ({"DomainName": "co.uk"}, 2),
        ({"DomainName": "192.0.2.1"}, 2),
        ({"DomainName": "not a domain"}, 2),
        ({"DomainName": "x" * 100_000}, 2),
        ({"DomainName": "\ud800.example"}, 2),
        ({"DomainName": "nul\0.example"}, 2),
        ({"DomainName": ["example.com"]}, 2),
        ({"DomainName": {"a": 1}}, 2),
        ({"DomainName": True}, 2),
        ({"DomainName": 5}, 2),
    ],
)
def test_add_domain_refusals(call: Call, params: dict[str, Any], code: int) -> None:
    answer = call("AddDomain", **params)
    assert (answer["Success"], answer["ErrorCode"]) == (False, code)
    assert "ErrorMessage" not in answer
    assert call("GetDomains")["Domains"] == []


def test_a_domain_that_is_there_is_code_2_and_a_full_plan_code_3(dns: DnsServer) -> None:
    who = cast.account("free", plan="Free")
    call = _caller(who)
    _add(who)
    assert call("AddDomain", DomainName="EXAMPLE.com")["ErrorCode"] == 2
    assert call("AddDomain", DomainName="example.org")["ErrorCode"] == 3


def test_a_deleted_domain_comes_back_under_its_id(call: Call, owner: Caller) -> None:
    domain = _add(owner)
    SenderDomain.update(deleted_ms=clock.now_ms(), status="disabled").where(SenderDomain.id == domain.id).execute()
    assert call("GetDomains")["Domains"] == []
    again = call("AddDomain", DomainName="example.com")
    assert (again["NewSenderDomainID"], again["Domain"]["Status"]) == (domain.id, "Approval Pending")


def test_domains_that_cannot_be_retrieved(call: Call, owner: Caller) -> None:
    foreign = _add(cast.account("stranger"), "foreign.test")
    for name in ("GetDomain", "VerifyDomain"):
        for nothing in ({}, {"DomainID": ""}, {"DomainID": None}):
            answer = call(name, **nothing)
            assert (answer["Success"], answer["ErrorCode"], bool(answer["ErrorMessage"])) == (False, 1, True)
        answers = [
            call(name, DomainID=value)
            for value in (foreign.id, str(foreign.id), foreign.id + 1000, 0, -1, "x", "1e3", 2**70, [1], {"a": 1}, True)
        ]
        assert answers[0]["ErrorCode"] == 2
        assert answers[0]["ErrorMessage"]
        assert all(answer == answers[0] for answer in answers)


def test_a_name_enabled_elsewhere_says_why(call: Call, owner: Caller, dns: DnsServer) -> None:
    domains.add(caller=cast.account("first"), name="example.com", trusted=True, dkim=cast.signing_keys())
    domain = _add(owner)
    _publish(dns, call("GetDomain", DomainID=domain.id)["Domain"])
    answer = call("VerifyDomain", DomainID=domain.id)
    assert answer["Success"] is True
    assert answer["Domain"]["Status"] == "Approval Pending"
    assert "another account" in answer["Domain"]["VerificationMeta"]["ErrorText"]
    results = {result["Host"]: result["Verified"] for result in answer["DNSVerificationResults"]}
    assert results.pop("_commandpost.example.com") is False
    assert all(results.values())


def test_an_outage_is_told(call: Call, owner: Caller, dns: DnsServer) -> None:
    domain = _add(owner)
    dns.servfail("_commandpost.example.com")
    answer = call("VerifyDomain", DomainID=domain.id)
    assert answer["Success"] is True
    assert answer["Domain"]["VerificationStatus"] == "Failed"  # DKIM was asked for and is not there
    assert "_commandpost.example.com" in answer["Domain"]["VerificationMeta"]["ErrorText"]


def test_an_answer_is_the_same_under_numeric_ids(owner: Caller) -> None:
    Account.update(options='{"numeric_ids": true}').where(Account.id == owner.account_id).execute()
    identity.forget()
    call = _caller(owner)
    assert type(call("AddDomain", DomainName="example.com")["NewSenderDomainID"]) is int
