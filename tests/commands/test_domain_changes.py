from __future__ import annotations

from typing import Any

import pytest

import models
from gateway import clock
from gateway.services import domains, messages, smtps, webhooks
from models.vocabulary import DeliveryState
from tests import cast
from tests.commands.conftest import Call

pytestmark = pytest.mark.usefixtures("store")

NAMED = ["UpdateDomain", "DeleteDomain", "ClearDomainQueue", "RegenerateSigningKey", "SMTPRelay"]
MESSAGES = {
    "UpdateDomain": {1: "Required field 'DomainID' is missing.", 5: "Unable to retrieve sender domain information."},
    "DeleteDomain": {
        1: "Missing required parameter: DomainID",
        2: "Domain not found or user does not have permission to delete the domain",
    },
}


def test_the_documents_update_is_echoed_in_its_types(call: Call, who: cast.Sender) -> None:
    answer = call(
        "UpdateDomain",
        DomainID=str(who.domain.id),
        LinkTracking="1",
        OpenTracking="0",
        UnsubscribeLink="1",
        HostingProvider="YourHostingProvider",
        Subdomain="mail",
    )
    wanted = {
        "DomainID": str(who.domain.id),
        "LinkTracking": "1",
        "OpenTracking": "0",
        "UnsubscribeLink": "1",
        "HostingProvider": "YourHostingProvider",
        "Subdomain": "mail",
        "Status": "Approval Pending",
    }
    assert (answer["Success"], answer["ErrorCode"]) == (True, 0)
    assert answer["Domain"] | wanted == answer["Domain"]
    shown = call("GetDomain", DomainID=who.domain.id)["Domain"]
    assert (shown["Status"], shown["IsActive"], shown["VerificationStatus"]) == ("Approval Pending", False, "Pending")
    wanted_options = {"LinkTracking": True, "OpenTracking": False, "UnsubscribeLink": True, "RequireTLS": False}
    assert shown["Options"] == wanted_options | {
        "TrackingDomain": "", "TrackingPrivacy": False, "TextLinkTracking": False, "HoneypotLink": False,
    }  # fmt: skip
    assert "mail.shop.test" in shown["VerificationMeta"]["DNSRecords"]


def test_a_tracking_host_is_shown_wherever_the_domain_is(call: Call, who: cast.Sender) -> None:
    changed = call("UpdateDomain", DomainID=who.domain.id, TrackingDomain="Go.Shop.test.", TrackingPrivacy="1")[
        "Domain"
    ]
    assert (changed["TrackingDomain"], changed["TrackingPrivacy"], changed["Status"]) == (
        "go.shop.test",
        "1",
        "Enabled",
    )
    shown = call("GetDomain", DomainID=who.domain.id)["Domain"]
    assert (shown["Options"]["TrackingDomain"], shown["Options"]["TrackingPrivacy"]) == ("go.shop.test", True)
    assert shown["VerificationMeta"]["DNSRecords"]["go.shop.test"][0] == "CNAME"
    assert "track.shop.test" not in shown["VerificationMeta"]["DNSRecords"]
    assert call("UpdateDomain", DomainID=who.domain.id, TrackingDomain="no host")["Success"] is False
    assert call("UpdateDomain", DomainID=who.domain.id, TrackingDomain="")["Domain"]["TrackingDomain"] == ""


def test_a_domain_may_require_tls(call: Call, who: cast.Sender) -> None:
    assert call("GetDomain", DomainID=who.domain.id)["Domain"]["Options"]["RequireTLS"] is False
    assert call("UpdateDomain", DomainID=who.domain.id, RequireTLS="1")["Domain"]["RequireTLS"] == "1"
    assert call("UpdateDomain", DomainID=who.domain.id, OpenTracking="1")["Domain"]["RequireTLS"] == "1"
    assert call("GetDomain", DomainID=who.domain.id)["Domain"]["Options"]["RequireTLS"] is True
    assert call("UpdateDomain", DomainID=who.domain.id, RequireTLS="0")["Domain"]["RequireTLS"] == "0"


def test_what_is_not_said_stays(call: Call, who: cast.Sender) -> None:
    call("UpdateDomain", DomainID=who.domain.id, HostingProvider="Ours", LinkTracking=0)
    kept = call("UpdateDomain", DomainID=who.domain.id, Subdomain="", LinkTracking="")["Domain"]
    assert (kept["HostingProvider"], kept["LinkTracking"], kept["OpenTracking"]) == ("Ours", "0", "1")
    assert (kept["Subdomain"], kept["Status"]) == (who.domain.subdomain, "Enabled")
    assert call("UpdateDomain", DomainID=who.domain.id, HostingProvider="")["Domain"]["HostingProvider"] == ""


@pytest.mark.parametrize(
    "params",
    [
        {"LinkTracking": "maybe"},
        {"OpenTracking": 2},
        {"UnsubscribeLink": [1]},
        {"RequireTLS": "maybe"},
        {"HostingProvider": "x" * 256},
        {"HostingProvider": {"a": "b"}},
        {"Subdomain": "a.b"},
        {"Subdomain": "-"},
        {"Subdomain": "x" * 300},
    ],
)
def test_what_an_update_cannot_take(call: Call, who: cast.Sender, params: dict[str, Any]) -> None:
    before = call("GetDomain", DomainID=who.domain.id)
    answer = call("UpdateDomain", DomainID=who.domain.id, **params)
    assert (answer["Success"], answer["ErrorCode"]) == (False, 100010)
    assert call("GetDomain", DomainID=who.domain.id) == before


def test_a_queue_is_cleared_and_a_domain_deleted(call: Call, who: cast.Sender) -> None:
    messages.accept(who.caller, cast.draft())
    cleared = call("ClearDomainQueue", DomainID=who.domain.id)
    assert cleared == {"Success": True, "ErrorCode": 0, "ClearedDeliveries": 1}
    assert models.Delivery.get().state == DeliveryState.FAILED

    messages.accept(who.caller, cast.draft())
    deleted = call("DeleteDomain", DomainID=str(who.domain.id))
    assert deleted == {"Success": True, "ErrorCode": 0, "CanceledDeliveries": 1}
    assert call("GetDomain", DomainID=who.domain.id)["ErrorCode"] == 2
    assert call("GetDomains")["Domains"] == []
    history = call("GetEvents", DomainID=who.domain.id, StartFrom=0, RetrieveCount=10)
    assert [event["Event"] for event in history["Events"]] == ["canceled", "accepted", "bounced", "accepted"]

    again = call("AddDomain", DomainName="shop.test")
    assert (again["NewSenderDomainID"], again["Domain"]["Status"]) == (who.domain.id, "Approval Pending")


def test_a_new_signing_key_is_shown(call: Call, who: cast.Sender) -> None:
    before = call("GetWebhooks", DomainID=who.domain.id)["SigningKey"]
    made = call("RegenerateSigningKey", DomainID=who.domain.id)["SigningKey"]
    assert made != before
    assert call("GetWebhooks", DomainID=who.domain.id)["SigningKey"] == made


def test_how_to_relay(call: Call, who: cast.Sender) -> None:
    relay = call("SMTPRelay", DomainID=who.domain.id)["SMTPRelay"]
    assert (relay["Host"], relay["Ports"], relay["HasCredentials"]) == ("mx.gateway.test", ["2525"], False)
    assert relay["Connections"] == [{"Port": "2525", "Encryption": "None"}]
    login, password = smtps.add(caller=who.owner, domain_id=who.domain.id)
    relay = call("SMTPRelay", DomainID=who.domain.id)["SMTPRelay"]
    assert (relay["HasCredentials"], relay["Usernames"]) == (True, [login.username])
    assert password not in str(relay)


def test_domains_are_listed_with_counts(call: Call, who: cast.Sender) -> None:
    assert "Counts" not in call("GetDomains")["Domains"][0]
    assert "Counts" not in call("GetDomains", WithCounts="0")["Domains"][0]
    webhooks.add(caller=who.owner, domain_id=who.domain.id, event="bounce", url="http://127.0.0.1:1/x")
    messages.accept(who.caller, cast.draft())
    for flag in ("1", 1, True):
        assert call("GetDomains", WithCounts=flag)["Domains"][0]["Counts"] == {
            "APIKeys": 0,
            "SMTPs": 0,
            "Webhooks": 1,
            "Events": 1,
            "EventsByType": {"accepted": 1},
        }


@pytest.mark.parametrize("name", NAMED)
def test_a_missing_and_a_foreign_domain(call: Call, name: str) -> None:
    stranger = cast.sender("stranger", "foreign.test")
    messages.accept(stranger.caller, cast.draft(domain="foreign.test"))
    absent = 5 if name == "UpdateDomain" else 2
    gone = domains.add(caller=cast.account("gone"), name="gone.test", dkim=cast.signing_keys())
    models.SenderDomain.update(deleted_ms=clock.now_ms()).where(models.SenderDomain.id == gone.id).execute()
    for value in (None, "", " "):
        answer = call(name, DomainID=value)
        assert (answer["Success"], answer["ErrorCode"]) == (False, 1)
        assert answer.get("ErrorMessage") == MESSAGES.get(name, {}).get(1)
    answers = [
        call(name, DomainID=value) for value in (stranger.domain.id, gone.id, 10**9, 0, -1, "x", 2**70, [1], {"a": 1})
    ]
    assert (answers[0]["Success"], answers[0]["ErrorCode"]) == (False, absent)
    assert answers[0].get("ErrorMessage") == MESSAGES.get(name, {}).get(absent)
    assert all(answer == answers[0] for answer in answers)
    assert models.Delivery.get().state == DeliveryState.QUEUED


def test_the_options_of_tracked_links(call: Call, who: cast.Sender) -> None:
    changed = call("UpdateDomain", DomainID=who.domain.id, TextLinkTracking=1, HoneypotLink="1")["Domain"]
    assert (changed["TextLinkTracking"], changed["HoneypotLink"]) == ("1", "1")
    assert call("GetDomain", DomainID=who.domain.id)["Domain"]["Options"]["HoneypotLink"] is True
    changed = call("UpdateDomain", DomainID=who.domain.id, HoneypotLink=0)["Domain"]
    assert (changed["TextLinkTracking"], changed["HoneypotLink"]) == ("1", "0")
