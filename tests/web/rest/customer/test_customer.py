"""The MailerLogic surface: the printed requests, and each of its groups from end to end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway.services import deliveries, identity, plans, suppression_rules, validation_jobs, validations, webhook_calls
from gateway.services.suppression_rules import Refused
from models.database import in_transaction
from models.vocabulary import EventKind, Stream
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.webhook_world import happen, message
from tests.peers.dns_server import DnsServer
from tests.peers.http_sink import HttpSink
from tests.peers.spamd import Spamd
from tests.web.rest.customer.conftest import Api, app, cheap_passwords, client, key_of

__all__ = ["app", "cheap_passwords", "client"]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
EMAIL = {"from": "hello@shop.test", "to": "jane@friends.test", "subject": "Hi", "text": "Hello"}


@pytest.fixture
def dns(app: object, tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.add("friends.test", "MX", "10 mx.friends.test")
        use_settings(tmp_path, DNS=server.address, HOSTNAME="mx.gateway.test", WEBHOOK_ALLOW="127.0.0.0/8")
        yield server


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    webhook_calls.forget()
    with HttpSink() as found:
        yield found


class TestTrackingDomains:
    def test_the_printed_requests(self, api: Api, dns: DnsServer) -> None:
        made = api("POST", "/tracking-domains", {"domain": "track.yourdomain.com"}, status=201)
        assert TIME.fullmatch(made["created_at"])
        assert made == {
            "id": made["id"], "domain": "track.yourdomain.com", "cname_target": "mx.gateway.test",
            "is_verified": False, "verified_at": None, "ssl_enabled": False, "created_at": made["created_at"],
            "https_url": None,
            "dns_setup": {
                "record_type": "CNAME", "hostname": "track.yourdomain.com", "value": "mx.gateway.test",
                "instructions": "Add a CNAME record in your DNS settings pointing track.yourdomain.com to"
                " mx.gateway.test",
            },
        }  # fmt: skip
        assert api("GET", "/tracking-domains") == {"tracking_domains": [made]}
        assert api("GET", f"/tracking-domains/{made['id']}") == made
        missing = api("POST", f"/tracking-domains/{made['id']}/verify")
        assert (missing["is_verified"], "no CNAME" in missing["message"]) == (False, True)

    def test_given_to_a_sending_domain(self, api: Api, dns: DnsServer, who: cast.Sender) -> None:
        made = api("POST", "/tracking-domains", {"domain": "track.shop.test"}, status=201)
        (domain,) = api("GET", "/domains")["domains"]
        early = api("PATCH", f"/domains/{domain['id']}", {"tracking_domain_id": made["id"]}, status=409)
        assert early["code"] == "tracking_domain_not_verified"
        dns.add("track.shop.test", "CNAME", "mx.gateway.test")
        verified = api("POST", f"/tracking-domains/{made['id']}/verify")
        assert (verified["is_verified"], verified["ssl_enabled"]) == (True, False)
        changed = api("PATCH", f"/domains/{domain['id']}", {"tracking_domain_id": made["id"], "open_tracking": False})
        assert (changed["tracking_domain_id"], changed["open_tracking"]) == (made["id"], False)
        assert models.SenderDomain.get_by_id(who.domain.id).tracking_host == "track.shop.test"
        assert api("PATCH", f"/domains/{domain['id']}", {"tracking_domain_id": None})["tracking_domain_id"] is None
        api("DELETE", f"/tracking-domains/{made['id']}")
        api("GET", f"/tracking-domains/{made['id']}", status=404)

    def test_refused(self, api: Api, dns: DnsServer) -> None:
        api("POST", "/tracking-domains", {"domain": "track.shop.test"}, status=201)
        assert api("POST", "/tracking-domains", {"domain": "track.shop.test"}, status=409)["code"] == (
            "tracking_domain_exists"
        )
        for body in ({}, {"domain": ""}, {"domain": "x"}, {"domain": 7}):
            assert api("POST", "/tracking-domains", body, status=400)["error"] == "Validation failed"
        api("GET", "/tracking-domains/550e8400-e29b-41d4-a716-446655440000", status=404)
        api("GET", "/tracking-domains/x", status=404)


class TestDomains:
    def test_added_verified_deleted(self, api: Api, dns: DnsServer) -> None:
        made = api("POST", "/domains", {"domain": "new.test"}, status=201)
        assert (made["domain"], made["is_verified"]) == ("new.test", False)
        assert {record["purpose"] for record in made["dns_records"]} >= {"dkim", "spf", "dmarc", "ownership"}
        for record in made["dns_records"]:
            if record["type"] == "TXT":
                dns.add(record["hostname"], "TXT", record["value"])
        verified = api("POST", f"/domains/{made['id']}/verify")
        assert (verified["status"], verified["is_verified"], verified["dkim_verified"]) == ("verified", True, True)
        api("DELETE", f"/domains/{made['id']}")
        api("GET", f"/domains/{made['id']}", status=404)
        assert api("POST", "/domains", {"domain": "shop.test"}, status=409)["code"] == "domain_exists"

    def test_advice_on_dmarc(self, api: Api, dns: DnsServer) -> None:
        (domain,) = api("GET", "/domains")["domains"]
        missing = api("GET", f"/domains/{domain['id']}")["dmarc"]
        assert (missing["status"], missing["policy"], missing["advice"]) == (
            "fail", None, "There is no DMARC record.",
        )  # fmt: skip
        assert missing["record"] == {"type": "TXT", "hostname": "_dmarc.shop.test", "value": "v=DMARC1; p=none"}
        dns.add("_dmarc.shop.test", "TXT", "v=DMARC1; p=none; rua=mailto:d@shop.test")
        weak = api("GET", f"/domains/{domain['id']}")["dmarc"]
        assert (weak["status"], weak["policy"], weak["reports"]) == ("warn", "none", "mailto:d@shop.test")
        assert weak["record"]["value"] == "v=DMARC1; p=quarantine; rua=mailto:d@shop.test"


class TestSending:
    def test_one(self, api: Api) -> None:
        body = EMAIL | {"tag": "welcome", "metadata": {"order": 7}, "stream": "broadcast"}
        sent = api("POST", "/send", body, status=202)
        assert TIME.fullmatch(sent["created_at"])
        assert sent | {"id": "", "created_at": ""} == {
            "id": "", "status": "queued", "from": "hello@shop.test", "to": ["jane@friends.test"], "subject": "Hi",
            "tag": "welcome", "created_at": "", "suppressed": [],
        }  # fmt: skip
        row = models.Message.get()
        assert (str(row.uuid), row.stream) == (sent["id"], 2)
        assert (json.loads(row.tags), json.loads(row.metadata)) == (["welcome"], {"order": 7})

    def test_a_batch_in_which_some_fail(self, api: Api) -> None:
        bad = [EMAIL | {"to": "nobody"}, "x", EMAIL | {"from": "a@strange.test"}, EMAIL | {"tag": 7}]
        answer = api("POST", "/send", {"emails": [EMAIL, *bad, EMAIL]}, status=202)
        assert (answer["accepted"], answer["failed"]) == (2, 4)
        assert [one["status"] for one in answer["results"]] == ["queued", *["failed"] * 4, "queued"]
        assert models.Message.select().count() == 2

    def test_a_batch_of_the_largest_size_and_one_more(self, api: Api) -> None:
        assert api("POST", "/send", {"emails": [EMAIL] * 500}, status=202)["accepted"] == 500
        assert api("POST", "/send", {"emails": [EMAIL] * 501}, status=413)["code"] == "too_large"
        assert models.Message.select().count() == 500

    def test_idempotent(self, api: Api) -> None:
        one, other = (api("POST", "/send", EMAIL, status=202, headers={"Idempotency-Key": "k"}) for _ in range(2))
        assert one == other
        api("POST", "/send", EMAIL | {"subject": "x"}, status=422, headers={"Idempotency-Key": "k"})
        assert models.Message.select().count() == 1

    def test_refused(self, api: Api) -> None:
        api("POST", "/send", {}, status=400)
        api("POST", "/send", {"emails": []}, status=400)
        assert api("POST", "/send", EMAIL | {"from": "a@strange.test"}, status=403)["code"] == "domain_not_verified"
        assert models.Message.select().count() == 0


class TestWhoIsNotWrittenTo:
    def test_suppressions(self, api: Api) -> None:
        added = api("POST", "/suppressions", {"email": "Jane@friends.test", "type": "hard"}, status=201)
        assert (added["email"], added["type"], added["scope"]) == ("jane@friends.test", "hard", "global")
        assert api("POST", "/send", EMAIL, status=409)["code"] == "recipient_suppressed"
        assert [one["id"] for one in api("GET", "/suppressions?type=hard")["suppressions"]] == [added["id"]]
        assert api("GET", "/suppressions?type=complaint")["suppressions"] == []
        api("DELETE", "/suppressions/jane@friends.test")
        api("DELETE", "/suppressions/jane@friends.test", status=404)
        api("POST", "/send", EMAIL, status=202)

    def test_soft_ones_end_by_themselves(self, api: Api, who: cast.Sender, tmp_path: Path) -> None:
        by_hand = api("POST", "/suppressions", {"email": "joe@friends.test", "type": "soft"}, status=201)
        assert (by_hand["type"], by_hand["expires_at"] > by_hand["created_at"]) == ("soft", True)
        use_settings(tmp_path, STRIKES="1")
        number, _ = message(who)
        full = Refused(
            who.owner.account_id, who.domain.id, "jane@friends.test", number, True, "mailbox_full", 552, "5.2.2",
            "552 5.2.2 mailbox full", "mx.friends.test",
        )  # fmt: skip
        in_transaction(lambda tx: suppression_rules.refused(tx, full))
        api("POST", "/send", EMAIL, status=409)
        listed = api("GET", "/suppressions?type=soft")["suppressions"]
        assert [(one["email"], one["type"], bool(one["expires_at"])) for one in listed] == [
            ("jane@friends.test", "soft", True), ("joe@friends.test", "soft", True),
        ]  # fmt: skip
        assert api("GET", "/suppressions?type=hard")["suppressions"] == []

    def test_of_one_domain(self, api: Api) -> None:
        (domain,) = api("GET", "/domains")["domains"]
        body = {"email": "jane@friends.test", "domain_id": domain["id"]}
        assert api("POST", "/suppressions", body, status=201)["domain"] == "shop.test"
        api("DELETE", "/suppressions/jane@friends.test", status=404)
        api("DELETE", f"/suppressions/jane@friends.test?domain_id={domain['id']}")

    def test_unsubscribes(self, api: Api) -> None:
        api("POST", "/unsubscribes", {"email": "jane@friends.test"}, status=201)
        api("POST", "/suppressions", {"email": "joe@friends.test"}, status=201)
        assert [one["email"] for one in api("GET", "/unsubscribes")["unsubscribes"]] == ["jane@friends.test"]
        assert [one["email"] for one in api("GET", "/suppressions")["suppressions"]] == ["joe@friends.test"]
        api("POST", "/send", EMAIL, status=409)
        api("DELETE", "/unsubscribes/jane@friends.test")
        api("POST", "/send", EMAIL, status=202)
        api("POST", "/unsubscribes", {"email": "x"}, status=400)

    def test_the_allow_list(self, api: Api) -> None:
        assert (
            api("POST", "/suppressions/allow-list", {"email": "vip@x.test", "note": "boss"}, status=201)["lifted"] == 0
        )
        assert api("GET", "/suppressions/allow-list")["allow_list"] == [{"email": "vip@x.test", "note": "boss"}]
        api("DELETE", "/suppressions/allow-list/vip@x.test")
        assert api("GET", "/suppressions/allow-list")["allow_list"] == []

    def test_pages(self, api: Api) -> None:
        for n in range(5):
            api("POST", "/suppressions", {"email": f"p{n}@x.test"}, status=201)
        first = api("GET", "/suppressions?limit=3")
        second = api("GET", f"/suppressions?limit=3&cursor={first['next_cursor']}")
        emails = [one["email"] for page in (first, second) for one in page["suppressions"]]
        assert (emails, second["has_more"]) == ([f"p{n}@x.test" for n in (4, 3, 2, 1, 0)], False)


class TestChecks:
    def test_validation(self, api: Api, dns: DnsServer) -> None:
        found = api("POST", "/validate", {"email": "info@friends.test"})
        assert (found["verdict"], found["checks"]["role"], found["checks"]["mx"]) == (
            "risky", True, ["mx.friends.test"],
        )  # fmt: skip
        some = api("POST", "/validate/batch", {"emails": ["jane@friends.test", "x"]})
        assert [one["verdict"] for one in some["results"]] == ["valid", "invalid"]
        assert some["summary"] == {"valid": 1, "risky": 0, "invalid": 1, "unknown": 0}
        api("POST", "/validate", {}, status=400)
        api("POST", "/validate/batch", {"emails": ["x"] * 501}, status=400)

    def test_many_behind_the_answer(self, api: Api, dns: DnsServer) -> None:
        emails = [f"p{n}@friends.test" for n in range(450)] + ["info@friends.test", "x"]
        job = api("POST", "/validate/bulk", {"emails": emails}, status=202)
        assert (job["status"], job["total"], job["done"]) == ("queued", 452, 0)
        assert validation_jobs.run(0.0) == 0
        assert validation_jobs.run(30) == 452
        found = api("GET", f"/validate/bulk/{job['id']}")
        assert (found["status"], found["done"], found["summary"]) == (
            "completed", 452, {"valid": 450, "risky": 1, "invalid": 1, "unknown": 0},
        )  # fmt: skip
        page, told = {"next_cursor": ""}, []
        while page["next_cursor"] is not None:
            page = api("GET", f"/validate/bulk/{job['id']}/results?limit=200&cursor={page['next_cursor']}")
            told += [one["email"] for one in page["results"]]
        assert told == emails
        assert validation_jobs.collect() == (0, False)

    def test_a_killed_worker_is_followed_by_another(self, api: Api, dns: DnsServer) -> None:
        emails = [f"p{n}@friends.test" for n in range(401)]
        job = api("POST", "/validate/bulk", {"emails": emails}, status=202)
        claimed = validation_jobs._claim()
        assert claimed is not None
        number, account_id, _, lease = claimed
        first = validations.validate(caller=identity.for_account(account_id), emails=emails[:200])
        assert validation_jobs._write(number, lease, list(range(200)), first)
        assert validation_jobs.run(5) == 0  # its lease holds
        models.ValidationJob.update(due_ms=1).execute()
        assert validation_jobs.run(30) == 201
        assert api("GET", f"/validate/bulk/{job['id']}")["summary"]["valid"] == 401
        assert not validation_jobs._write(number, lease, [0], first[:1])  # who was thought dead comes too late

    def test_content_score(self, api: Api) -> None:
        found = api("POST", "/content-score", {"subject": "Hi", "html": '<a href="https://bit.ly/x">an offer</a>'})
        assert found["score"] < 100
        assert "url_shortener" in [one["rule"] for one in found["findings"]]
        assert found["spamassassin"] is None
        api("POST", "/content-score", {"subject": "Hi"}, status=400)
        api("POST", "/content-score", {"text": "Hi", "from": "x"}, status=400)

    def test_content_score_with_spamassassin(self, api: Api, tmp_path: Path) -> None:
        with Spamd() as spamd:
            use_settings(tmp_path, SPAMD=spamd.address)
            scored = api("POST", "/content-score", {"subject": "Hi", "text": "An offer"})
            assert str(scored["score"]) == "100.0"
            told = scored["spamassassin"]
            assert (told["status"], told["score"], told["required"]) == ("ok", 2.9, 5.0)
            assert told["rules"][2] == {
                "name": "MIME_HTML_ONLY", "points": 0.1, "description": "BODY: Message only has text/html MIME parts",
            }  # fmt: skip
            assert b"From: sender@shop.test\r\n" in spamd.asked[0][1]
            spamd.how = "refuse"
            assert api("POST", "/content-score", {"text": "An offer", "from": "me@shop.test"})["spamassassin"] == {
                "status": "unavailable", "score": None, "required": None, "rules": [],
            }  # fmt: skip
            assert b"From: me@shop.test\r\n" in spamd.asked[1][1]

    def test_risk(self, api: Api, dns: DnsServer) -> None:
        found = api("POST", "/risk", {"to": ["x", "y"], "subject": "Hi", "text": "Hello there"})
        assert (found["level"], found["factors"][0]["code"]) == ("high", "invalid_recipients")
        assert (found["action"], found["policy"]) == ("allow", {"warn_from": None, "hold_from": None})
        api("POST", "/risk", {}, status=400)

    def test_health_score(self, api: Api) -> None:
        found = api("GET", "/health-score")
        assert isinstance(found["score"], float)
        assert (found["confidence"], found["messages"]) == (0, 0)
        (domain,) = api("GET", "/domains")["domains"]
        assert api("GET", f"/health-score?domain_id={domain['id']}")["grade"]
        api("GET", "/health-score?domain_id=x", status=404)


class TestFigures:
    def test_statistics_and_events(self, api: Api, who: cast.Sender) -> None:
        number, uuid = message(who, tags=["welcome"], metadata={"order": 7})
        while deliveries.drain(0.2):
            pass
        assert deliveries.engine().wait_idle(20)
        deliveries.close()
        data = {"verdict": "human", "device": "iPhone", "device_kind": "mobile", "client": "Apple Mail"}
        happen(who, number, EventKind.OPENED, ip="192.0.2.1", data=data | {"metadata": {"order": 7}})
        found = api("GET", "/statistics?group_by=day")
        assert (found["totals"]["sent"], found["totals"]["delivered"], found["totals"]["opened"]) == (1, 1, 1)
        assert len(found["groups"]) == 28
        page = api("GET", "/events?event=email.opened")
        (opened,) = page["events"]
        assert (opened["event"], opened["email_id"], opened["is_human"]) == ("email.opened", uuid, True)
        assert (opened["recipient"], opened["tag"]) == ("jane@friends.test", "welcome")
        assert opened["device"] == {"family": "iPhone", "kind": "mobile", "client": "Apple Mail"}
        assert (opened["metadata"], opened["stream"]) == ({"order": 7}, "transactional")
        of_one = api("GET", f"/events?email_id={uuid}")
        assert "email.delivered" in [one["event"] for one in of_one["events"]]
        api("GET", "/events?event=email.eaten", status=400)


class TestAccount:
    def test_profile(self, api: Api) -> None:
        found = api("GET", "/profile")
        assert (found["plan"], found["usage"]["domains"]) == ("Unlimited", 1)

    def test_a_key_is_rotated_with_an_overlap(self, api: Api, client: FlaskClient) -> None:
        made = api("POST", "/profile/rotate-key", {"overlap_hours": 1}, status=201)
        new = Api(client, made["api_key"])
        assert new("GET", "/profile") == api("GET", "/profile")
        assert made["old_key_expires_at"]
        api("POST", "/profile/rotate-key", status=409)
        last = new("POST", "/profile/rotate-key", {"overlap_hours": 0}, status=201)
        new("GET", "/profile", status=401)
        Api(client, last["api_key"])("GET", "/profile")

    def test_smtp_makes_a_login_and_shows_its_password(self, api: Api) -> None:
        made = api("GET", "/smtp")
        assert made["password"] and made["username"].endswith("@shop.test")
        assert api("GET", "/smtp") == made
        rotated = api("POST", "/smtp/rotate")
        assert rotated["username"] == made["username"]
        assert rotated["password"] != made["password"]
        assert api("GET", "/smtp") == rotated


def test_what_a_plan_leaves_out(api: Api) -> None:
    plans.save(name="Unlimited", changes={"events": 0, "risk": 0})
    assert api("GET", "/events", status=403)["code"] == "not_in_plan"
    assert api("POST", "/risk", {"text": "Hello"}, status=403)["code"] == "not_in_plan"
    plans.save(name="Unlimited", changes={"events": None, "risk": None})
    api("GET", "/events")
    api("POST", "/risk", {"text": "Hello there"})


class TestWebhooks:
    def test_the_printed_requests(self, api: Api, dns: DnsServer, sink: HttpSink) -> None:
        ids = [api("POST", "/domains", {"domain": f"d{n}.test"}, status=201)["id"] for n in range(3)]
        printed: list[dict[str, Any]] = [
            {"events": ["email.delivered", "email.opened", "email.clicked", "email.bounced", "email.complained"],
             "name": "Production Webhook", "domain_ids": None},
            {"events": ["email.opened", "email.clicked"], "name": "Marketing Domains Group", "domain_ids": ids},
            {"events": ["email.delivered", "email.bounced"], "name": "Support Domain Only", "domain_ids": ids[:1]},
        ]  # fmt: skip
        made = [
            api("POST", "/webhooks", one | {"url": sink.url + "/hook", "is_active": True}, status=201)
            for one in printed
        ]
        assert [one["scope"] for one in made] == ["customer", "group", "domain"]
        for one, asked in zip(made, printed, strict=True):
            assert (one["name"], one["events"], one["domain_ids"]) == (
                asked["name"], asked["events"], asked["domain_ids"],
            )  # fmt: skip
            assert one["secret"].startswith("whsec_")
        listed = api("GET", "/webhooks")["webhooks"]
        assert [one["scope"] for one in listed] == ["group", "domain", "customer"]
        change = {"is_active": False, "name": "Off", "test_events": True}
        changed = api("PATCH", f"/webhooks/{made[0]['id']}", change)
        assert {name: changed[name] for name in change} == change
        api("DELETE", f"/webhooks/{made[0]['id']}")
        api("GET", f"/webhooks/{made[0]['id']}", status=404)

    def test_they_are_told_domains_first(self, api: Api, dns: DnsServer, sink: HttpSink, who: cast.Sender) -> None:
        (domain,) = api("GET", "/domains")["domains"]
        for path, domain_ids in (("/all", None), ("/one", [domain["id"]])):
            api("POST", "/webhooks", {"url": sink.url + path, "events": ["*"], "domain_ids": domain_ids}, status=201)
        number, uuid = message(who, tags=["welcome"], metadata={"order": 7}, stream=Stream.BULK)
        happen(who, number, EventKind.DELIVERED)
        rows = list(models.WebhookDelivery.select().order_by(models.WebhookDelivery.id))
        hooks = {hook.id: hook.url for hook in models.Webhook.select()}
        assert [hooks[row.webhook_id].rpartition("/")[2] for row in rows] == ["one", "all", "one", "all"]
        webhook_calls.drain(5)
        told = [json.loads(request.body) for request in sink.requests if request.path == "/all"]
        assert [one["event"] for one in told] == ["email.sent", "email.delivered"]
        assert (told[1]["email_id"], told[1]["tag"], told[1].get("recipient")) == (uuid, "welcome", "jane@friends.test")
        assert TIME.fullmatch(told[1]["timestamp"])
        assert [one["stream"] for one in told] == ["broadcast", "broadcast"]

    def test_opens_are_told_with_who_and_on_what(
        self, api: Api, dns: DnsServer, sink: HttpSink, who: cast.Sender
    ) -> None:
        api("POST", "/webhooks", {"url": sink.url + "/hook", "events": ["email.opened", "email.bounced"]}, status=201)
        number, uuid = message(who, tags=["welcome"])
        happen(who, number, EventKind.OPENED, ip="192.0.2.1", data={
            "verdict": "machine", "reasons": ["prefetch"], "device_kind": "tablet", "client": "Gmail",
        })  # fmt: skip
        happen(who, number, EventKind.BOUNCED, data={"code": 550, "enhanced": "5.1.1", "category": "recipient"})
        webhook_calls.drain(5)
        opened, bounced = (json.loads(request.body) for request in sink.requests)
        assert (opened["is_human"], opened["verdict"], opened["reasons"]) == (False, "machine", ["prefetch"])
        assert opened["device"] == {"family": None, "kind": "tablet", "client": "Gmail"}
        assert (bounced["bounce_type"], bounced["code"], bounced["enhanced_code"]) == ("permanent", 550, "5.1.1")
        # What is asked for is what was told.
        listed = {one["event"]: one for one in api("GET", f"/events?email_id={uuid}")["events"]}
        assert (listed["email.opened"], listed["email.bounced"]) == (opened, bounced)

    def test_refused(self, api: Api, dns: DnsServer) -> None:
        for body, status in (
            ({}, 400),
            ({"url": "https://example.com/", "events": ["x"]}, 400),
            ({"url": "https://10.0.0.1/", "events": ["*"]}, 400),
            ({"url": "https://example.com/", "events": ["*"], "domain_ids": ["x"]}, 404),
        ):
            api("POST", "/webhooks", body, status=status)


ROUTES = [
    ("GET", "/tracking-domains/{tracking}", None),
    ("POST", "/tracking-domains/{tracking}/verify", None),
    ("DELETE", "/tracking-domains/{tracking}", None),
    ("GET", "/domains/{domain}", None),
    ("PATCH", "/domains/{domain}", {"open_tracking": False}),
    ("POST", "/domains/{domain}/verify", None),
    ("DELETE", "/domains/{domain}", None),
    ("GET", "/webhooks/{webhook}", None),
    ("PATCH", "/webhooks/{webhook}", {"name": "x"}),
    ("DELETE", "/webhooks/{webhook}", None),
    ("GET", "/health-score?domain_id={domain}", None),
    ("GET", "/statistics?domain_id={domain}", None),
    ("GET", "/events?email_id={email}", None),
    ("GET", "/smtp?domain_id={domain}", None),
    ("DELETE", "/suppressions/jane@friends.test", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
def test_a_stranger_finds_nothing(
    client: FlaskClient, api: Api, dns: DnsServer, sink: HttpSink, method: str, path: str, body: Any
) -> None:
    (domain,) = api("GET", "/domains")["domains"]
    ours = {
        "domain": domain["id"],
        "tracking": api("POST", "/tracking-domains", {"domain": "t.shop.test"}, status=201)["id"],
        "webhook": api("POST", "/webhooks", {"url": sink.url + "/x", "events": ["*"]}, status=201)["id"],
        "email": api("POST", "/send", EMAIL, status=202)["id"],
    }
    api("POST", "/suppressions", {"email": "jane@friends.test"}, status=201)
    stranger = Api(client, key_of(cast.sender("stranger", "other.test")))
    told = stranger(method, path.format(**ours), body, status=404)
    assert told["code"] in ("not_found", "message_not_found")
    assert "shop.test" not in json.dumps(told)
    assert [one["id"] for one in api("GET", "/domains")["domains"]] == [domain["id"]]


def test_keys(client: FlaskClient, who: cast.Sender) -> None:
    for key, status in (
        ("", 401),
        ("x", 401),
        (key_of(who, surface="mailersio"), 401),
        (key_of(who, scopes=["send"]), 403),
        (key_of(who, scopes=["read"]), 200),
        (key_of(who, domain_id=who.domain.id), 200),
    ):
        answer = client.get("/api/v1/customer/domains", headers={"X-API-Key": key})
        assert answer.status_code == status, key
    assert client.get("/api/v1/customer/nothing").status_code == 404
    one = Api(client, key_of(who, domain_id=who.domain.id))
    one("POST", "/domains", {"domain": "x.test"}, status=403)
    one("POST", "/tracking-domains", {"domain": "x.test"}, status=403)
