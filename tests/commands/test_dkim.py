"""RotateDKIM, CancelDKIMRotation, ImportDKIM, GetDKIMKeys and GetNotices through their door."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.services import rechecks
from tests import cast
from tests.commands.conftest import Call, caller
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer

pytestmark = pytest.mark.usefixtures("store")

_PEM = dict(cast.signing_keys())


@pytest.fixture
def dns(store: str, tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as running:
        use_settings(tmp_path, DNS=running.address)
        yield running


def test_a_rotation_by_commands(call: Call, who: cast.Sender, dns: DnsServer) -> None:
    number = who.domain.id
    for host, (type_, value) in call("GetDomain", DomainID=number)["Domain"]["VerificationMeta"]["DNSRecords"].items():
        dns.set(host, type_, value)
    made = call("RotateDKIM", DomainID=number)
    assert (made["Success"], made["ErrorCode"]) == (True, 0)
    assert [(key["Algorithm"], key["Bits"], key["State"]) for key in made["Keys"]] == [
        ("rsa", 2048, "pending"),
        ("ed25519", 256, "pending"),
    ]
    assert made["DNSRecords"] == {key["Host"]: ["TXT", key["Value"]] for key in made["Keys"]}
    shown = call("GetDomain", DomainID=number)["Domain"]["VerificationMeta"]
    assert shown["DNSRecords"] | made["DNSRecords"] == shown["DNSRecords"]
    assert not set(shown["Required"]) & set(made["DNSRecords"])
    assert call("RotateDKIM", DomainID=number)["ErrorCode"] == 3
    for host, (type_, value) in made["DNSRecords"].items():
        dns.set(host, type_, value)
    verified = call("VerifyDomain", DomainID=number)
    assert verified["Domain"]["DKIMStatus"] == "Verified"
    keys = {key["Selector"]: key for key in call("GetDKIMKeys", DomainID=number)["Keys"]}
    for key in made["Keys"]:
        now = keys[key["Selector"]]
        assert (now["State"], now["InDNS"], bool(now["SeenAt"])) == ("active", True, True)
    assert (keys["rsa"]["State"], keys["rsa"]["RecordMayBeRemoved"]) == ("retiring", False)
    assert keys["rsa"]["RetiresAt"] > keys["rsa"]["ReplacedAt"]
    kinds = [one["Kind"] for one in call("GetNotices", DomainID=number)["Notices"]]
    assert kinds[-2:] == ["dkim.rotation_started", "domain.enabled"]
    assert kinds.count("dkim.switched") == 2


def test_a_rotation_that_is_canceled(call: Call, who: cast.Sender) -> None:
    made = call("RotateDKIM", DomainID=who.domain.id)
    selectors = [key["Selector"] for key in made["Keys"]]
    assert call("CancelDKIMRotation", DomainID=who.domain.id)["CanceledSelectors"] == selectors
    assert call("CancelDKIMRotation", DomainID=who.domain.id) == {
        "Success": True, "ErrorCode": 0, "CanceledSelectors": [],
    }  # fmt: skip


def test_an_import_by_command(call: Call, who: cast.Sender, dns: DnsServer) -> None:
    answer = call("ImportDKIM", DomainID=who.domain.id, Selector="moved", PrivateKey=_PEM["rsa"])
    assert (answer["Success"], answer["Key"]["State"], answer["Warnings"]) == (True, "pending", [])
    assert "PRIVATE" not in repr(answer)
    dns.set(answer["Key"]["Host"], "TXT", answer["Key"]["Value"])
    assert rechecks.run(5) == 1
    assert "PRIVATE" not in repr(call("GetDKIMKeys", DomainID=who.domain.id))
    states = {key["Selector"]: key["State"] for key in call("GetDKIMKeys", DomainID=who.domain.id)["Keys"]}
    # The key of before was in nobody's DNS: nothing that it signed could be verified.
    assert (states["moved"], states["rsa"]) == ("active", "retired")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"DomainID": None}, 1),
        ({"Selector": ""}, 2),
        ({"PrivateKey": ""}, 3),
        ({"DomainID": 987654321}, 4),
        ({"Selector": "not one"}, 5),
        ({"Selector": "rsa"}, 5),
        ({"Selector": "x" * 64}, 5),
        ({"PrivateKey": "no key"}, 6),
        ({"PrivateKey": "x" * 20_001}, 6),
    ],
)
def test_import_refusals(call: Call, who: cast.Sender, params: dict[str, Any], code: int) -> None:
    good = {"DomainID": who.domain.id, "Selector": "moved", "PrivateKey": _PEM["ed25519"]}
    answer = call("ImportDKIM", **{name: value for name, value in (good | params).items() if value is not None})
    assert (answer["Success"], answer["ErrorCode"]) == (False, code)
    assert len(call("GetDKIMKeys", DomainID=who.domain.id)["Keys"]) == 2


def test_an_import_beside_a_rotation_is_refused(call: Call, who: cast.Sender) -> None:
    call("ImportDKIM", DomainID=who.domain.id, Selector="one", PrivateKey=_PEM["ed25519"])
    answer = call("ImportDKIM", DomainID=who.domain.id, Selector="two", PrivateKey=_PEM["ed25519"])
    assert answer["ErrorCode"] == 7


def test_what_is_not_the_callers(call: Call, who: cast.Sender, dns: DnsServer) -> None:
    strange = caller(cast.sender("stranger", "other.test"))
    for name in ("RotateDKIM", "CancelDKIMRotation", "GetDKIMKeys"):
        assert strange(name)["ErrorCode"] == 1
        assert strange(name, DomainID=who.domain.id)["ErrorCode"] == 2
    assert strange("GetNotices", DomainID=who.domain.id)["ErrorCode"] == 1
    assert [one["Data"]["domain"] for one in strange("GetNotices")["Notices"]] == ["other.test"]


def test_notices_in_pages(call: Call, who: cast.Sender) -> None:
    call("RotateDKIM", DomainID=who.domain.id)
    first = call("GetNotices", RetrieveCount=1)["Notices"]
    assert [one["Kind"] for one in first] == ["dkim.rotation_started"]
    assert first[0]["DomainID"] == str(who.domain.id)
    rest = call("GetNotices", Before=first[0]["NoticeID"])["Notices"]
    assert [one["Kind"] for one in rest] == ["domain.enabled"]
    assert call("GetNotices", Kind="domain.disabled")["Notices"] == []
    assert call("GetNotices", Kind="nonsense")["Success"] is False
