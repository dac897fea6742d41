"""`/v1/sending-servers` and `/v1/routing/rules`: connected, tried, changed, named by rules, kept apart."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway.services import deliveries, keys, routing_previews, sending_servers
from gateway.transports import smtp_connection
from models.database import in_transaction
from tests import cast
from tests.conftest import use_settings
from tests.peers.smtp_sink import HANG, SmtpSink
from tests.web.conftest import app, cheap_passwords, client

__all__ = ["app", "cheap_passwords", "client"]

RELAY = {"name": "Relay", "provider": "smtp", "host": "127.0.0.1", "port": 2525}
ABSENT = "srv_01K0Q4T2X8Z3V5N7B9C1D3F5G7"


class Api:
    """The API as a holder of a key calls it."""

    def __init__(self, client: FlaskClient, who: cast.Sender, **options: Any) -> None:
        options = {"surface": "mailersio"} | options
        self.key = in_transaction(lambda tx: keys.create_key(tx, account_id=who.owner.account_id, **options))[1]
        self._client = client
        self.app = client.application

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = self._client.open(
            f"/v1{path}", method=method, json=body, headers={"Authorization": f"Bearer {self.key}"}
        )
        assert answer.status_code == status, answer.get_data(as_text=True)
        return answer.get_json()


@pytest.fixture
def who(app: object, tmp_path: Path) -> cast.Sender:
    use_settings(tmp_path, DELIVERY_ALLOW="127.0.0.0/8")
    return cast.sender()


@pytest.fixture
def api(client: FlaskClient, who: cast.Sender) -> Api:
    return Api(client, who)


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink(users={"me": "secret"}) as peer:
        yield peer


class TestServers:
    def test_one_is_connected_shown_changed_and_removed(self, api: Api) -> None:
        body = RELAY | {
            "username": "me", "password": "secret", "priority": 5, "weight": 70, "quotas": {"per_hour": 100}
        }  # fmt: skip
        made = api("POST", "/sending-servers", body, status=201)
        assert made["id"].startswith("srv_")
        assert made["config"] == {"host": "127.0.0.1", "port": 2525, "tls": "opportunistic"}
        assert made["credentials_set"] == ["password", "username"]
        assert made["quotas"] == {"per_second": None, "per_minute": None, "per_hour": 100, "per_day": None}
        assert "secret" not in str(made)
        path = f"/sending-servers/{made['id']}"
        assert api("GET", path) == made
        changed = api("PATCH", path, {"status": "paused", "quotas": {"per_hour": None, "per_day": 9}, "port": 2526})
        assert changed["status"] == "paused"
        assert changed["config"]["port"] == 2526 and changed["config"]["host"] == "127.0.0.1"
        assert (changed["quotas"]["per_hour"], changed["quotas"]["per_day"]) == (None, 9)
        assert changed["credentials_set"] == ["password", "username"]
        assert api("PATCH", path, {"credentials": {"username": None, "password": None}})["credentials_set"] == []
        assert [one["id"] for one in api("GET", "/sending-servers")["data"]] == [made["id"]]
        api("DELETE", path, status=204)
        api("GET", path, status=404)
        assert models.SendingServer.get().credentials is None

    def test_each_provider_is_connected_by_its_word(self, api: Api) -> None:
        some = {
            "amazon-ses": {"config": {"region": "eu-west-1"},
                           "credentials": {"access_key_id": "AKIA", "secret_access_key": "s"}},
            "mailgun": {"config": {"domain": "mg.shop.test", "region": "eu"}, "credentials": {"api_key": "k"}},
            "sendgrid": {"api_key": "SG.k"},
            "resend": {"api_key": "re_k"},
            "mx": {},
            "capture": {},
        }  # fmt: skip
        for word, body in some.items():
            made = api("POST", "/sending-servers", {"provider": word, **body}, status=201)
            assert (made["provider"], made["name"]) == (word, word)
        page = api("GET", "/sending-servers?limit=4")
        assert page["has_more"] is True
        rest = api("GET", f"/sending-servers?limit=4&cursor={page['next_cursor']}")
        assert [one["provider"] for one in page["data"] + rest["data"]] == list(some)

    def test_some_of_them_by_provider_and_status(self, api: Api) -> None:
        for name, provider, status in (("a", "mx", "active"), ("b", "capture", "paused"), ("c", "capture", "active")):
            api("POST", "/sending-servers", {"name": name, "provider": provider, "status": status}, status=201)
        ses = {"region": "eu-west-1", "credentials": {"access_key_id": "AKIA", "secret_access_key": "s"}}
        api("POST", "/sending-servers", ses | {"name": "d", "provider": "amazon-ses"}, status=201)

        def listed(query: str) -> list[str]:
            return [one["name"] for one in api("GET", f"/sending-servers?{query}")["data"]]

        assert listed("provider=capture") == ["b", "c"]
        assert listed("provider=amazon-ses") == listed("provider=ses") == ["d"]
        assert listed("status=paused") == listed("status=paused&provider=capture") == ["b"]
        for query in ("provider=pigeon", "status=gone"):
            api("GET", f"/sending-servers?{query}", status=400)

    def test_usage_is_told_where_it_is_counted(self, api: Api) -> None:
        made = api("POST", "/sending-servers", RELAY | {"quotas": {"per_hour": 9}}, status=201)
        assert made["usage"] == {"per_second": None, "per_minute": None, "per_hour": 0, "per_day": None}

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"provider": "pigeon"}, "provider"),
            ({}, "provider"),
            ({"provider": "smtp"}, "config.host"),
            ({"provider": "smtp", "host": "a b"}, "config.host"),
            ({"provider": "smtp", "host": "mail.test", "tls": "maybe"}, "config.tls"),
            ({"provider": "smtp", "host": "mail.test", "username": "me"}, "credentials"),
            ({"provider": "smtp", "host": "mail.test", "config": {"color": 1}}, "config.color"),
            ({"provider": "smtp", "host": "mail.test", "credentials": {"api_key": "k"}}, "credentials.api_key"),
            ({"provider": "smtp", "host": "mail.test", "quotas": {"per_week": 1}}, "quotas.per_week"),
            ({"provider": "smtp", "host": "mail.test", "quotas": {"per_day": 0}}, "per_day"),
            ({"provider": "smtp", "host": "mail.test", "quotas": [1]}, "quotas"),
            ({"provider": "smtp", "host": "mail.test", "weight": -1}, "weight"),
            ({"provider": "smtp", "host": "mail.test", "config": "x"}, "config"),
            ({"provider": "ses", "region": "nowhere",
              "credentials": {"access_key_id": "a", "secret_access_key": "b"}}, "config.region"),
            ({"provider": "mailgun", "domain": "mg.shop.test"}, "credentials.api_key"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_used_is_refused_by_name(self, api: Api, body: dict[str, Any], field: str) -> None:
        told = api("POST", "/sending-servers", {"name": "Mine", **body}, status=400)
        assert told["code"] == "invalid_parameter"
        assert field in [fault["field"] for fault in told["errors"]]
        assert models.SendingServer.select().count() == 0

    def test_a_name_is_given_once(self, api: Api) -> None:
        api("POST", "/sending-servers", RELAY, status=201)
        told = api("POST", "/sending-servers", RELAY | {"name": "RELAY"}, status=409)
        assert told["code"] == "server_exists"
        other = api("POST", "/sending-servers", RELAY | {"name": "Other"}, status=201)
        assert api("PATCH", f"/sending-servers/{other['id']}", {"name": "relay"}, status=409)["code"] == "server_exists"

    def test_a_kept_secret_does_not_go_to_another_host(self, api: Api) -> None:
        relay = RELAY | {"username": "me", "password": "secret"}
        http = {"name": "API", "provider": "mailgun", "domain": "mg.shop.test", "api_key": "k"}
        for body, change, secret in (
            (relay, {"host": "192.0.2.9"}, "password"),
            (relay, {"config": {"host": "mail.test"}, "credentials": {"username": "other"}}, "password"),
            (http, {"endpoint": "https://api.elsewhere.test"}, "api_key"),
        ):
            made = api("POST", "/sending-servers", body, status=201)
            path = f"/sending-servers/{made['id']}"
            told = api("PATCH", path, change, status=400)
            assert [fault["field"] for fault in told["errors"]] == [f"credentials.{secret}"]
            assert api("GET", path)["config"] == made["config"]
            api("PATCH", path, {"weight": 5} | ({"port": 2526} if body is relay else {}))
            credentials = change.get("credentials", {}) | {secret: "again"}
            api("PATCH", path, {**change, "credentials": credentials})  # type: ignore[dict-item]
            api("DELETE", path, status=204)

    def test_two_who_delete_one_at_once_delete_it_once(
        self, api: Api, who: cast.Sender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = api("POST", "/sending-servers", RELAY, status=201)
        found = sending_servers.find(caller=who.owner, server_id=made["id"])
        monkeypatch.setattr(sending_servers, "find", lambda **_: found)  # both looked before either deleted
        api("DELETE", f"/sending-servers/{made['id']}", status=204)
        api("DELETE", f"/sending-servers/{made['id']}", status=404)
        entries = models.AuditEntry.select().where(models.AuditEntry.action == "sending_server.delete")
        assert entries.count() == 1

    def test_a_server_without_secrets_moves(self, api: Api) -> None:
        made = api("POST", "/sending-servers", RELAY, status=201)
        moved = api("PATCH", f"/sending-servers/{made['id']}", {"host": "192.0.2.9"})
        assert moved["config"]["host"] == "192.0.2.9"

    def test_one_is_tried_without_sending(self, api: Api, sink: SmtpSink) -> None:
        body = RELAY | {"port": sink.port, "username": "me", "password": "secret"}
        path = f"/sending-servers/{api('POST', '/sending-servers', body, status=201)['id']}"
        found = api("POST", f"{path}/test")
        assert (found["ok"], found["remote"]) == (True, f"127.0.0.1[127.0.0.1]:{sink.port}")
        api("PATCH", path, {"password": "wrong"})
        found = api("POST", f"{path}/test")
        assert found["ok"] is False
        assert found["detail"].startswith("535 5.7.8 wrong")
        sink.stop()
        assert "refused" in api("POST", f"{path}/test")["detail"]
        assert sink.transactions == []

    def test_servers_that_hang_take_no_more_than_a_few_threads(
        self, api: Api, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sink.always("banner", HANG)
        path = f"/sending-servers/{api('POST', '/sending-servers', RELAY | {'port': sink.port}, status=201)['id']}/test"
        hasty = replace(smtp_connection._HASTY, greeting=1.5)
        monkeypatch.setattr(smtp_connection, "_HASTY", hasty)
        with ThreadPoolExecutor(4) as pool:
            key = {"Authorization": f"Bearer {api.key}"}
            calls = [pool.submit(api.app.test_client().post, f"/v1{path}", headers=key) for _ in range(4)]
            answers = sorted(call.result().status_code for call in calls)
        assert answers == [200, 200, 429, 429]

    def test_private_addresses_are_reached_only_where_the_operator_says_so(
        self, api: Api, sink: SmtpSink, tmp_path: Path
    ) -> None:
        path = f"/sending-servers/{api('POST', '/sending-servers', RELAY | {'port': sink.port}, status=201)['id']}"
        use_settings(tmp_path)
        found = api("POST", f"{path}/test")
        assert found["ok"] is False
        assert "COMMANDPOST_DELIVERY_ALLOW" in found["detail"]
        assert sink.connections == 0


class TestRules:
    def test_they_are_listed_as_they_are_asked(self, api: Api, who: cast.Sender) -> None:
        api("POST", "/sending-servers", RELAY, status=201)
        for name, priority, more in (
            ("last", 30, {}), ("second", 10, {"enabled": False}), ("third", 10, {"domain": who.domain.name}),
            ("first", 0, {}),
        ):  # fmt: skip
            body = {"name": name, "priority": priority, "provider": "Relay"} | more
            api("POST", "/routing/rules", body, status=201)
        seen, cursor = [], ""
        while cursor is not None:
            page = api("GET", f"/routing/rules?limit=1&cursor={cursor}")
            seen += [one["name"] for one in page["data"]]
            cursor = page["next_cursor"]
        assert seen == ["first", "second", "third", "last"]
        assert [one["name"] for one in api("GET", "/routing/rules?enabled=false")["data"]] == ["second"]
        assert [one["name"] for one in api("GET", f"/routing/rules?domain={who.domain.name}")["data"]] == ["third"]
        api("GET", "/routing/rules?domain=elsewhere.test", status=404)
        api("GET", "/routing/rules?cursor=WzFd", status=400)

    def test_one_is_made_shown_changed_and_removed(self, api: Api) -> None:
        server = api("POST", "/sending-servers", RELAY, status=201)
        body = {"name": "Receipts", "priority": 3, "match": {"purpose": "transactional"}, "provider": "Relay"}
        made = api("POST", "/routing/rules", body, status=201)
        assert made["match"] == {"purpose": ["transactional"]}
        assert made["provider"] == "smtp"
        assert made["servers"] == [
            {"server": server["id"], "name": "Relay", "provider": "smtp", "priority": 10, "weight": None}
        ]
        path = f"/routing/rules/{made['id']}"
        assert api("GET", path) == made
        changed = api("PATCH", path, {"enabled": False, "match": {"tag": ["a", "b*"], "size": {"max": 1000}}})
        assert (changed["enabled"], changed["match"]) == (False, {"tag": ["a", "b*"], "max_size": 1000})
        assert changed["servers"] == made["servers"]
        assert api("DELETE", f"/sending-servers/{server['id']}", status=409)["code"] == "server_in_use"
        api("DELETE", path, status=204)
        api("GET", path, status=404)
        api("DELETE", f"/sending-servers/{server['id']}", status=204)

    def test_a_kind_needs_no_server_yet(self, api: Api) -> None:
        made = api("POST", "/routing/rules", {"name": "SES", "provider": "amazon-ses"}, status=201)
        assert made["provider"] == "amazon-ses"
        assert made["servers"] == [{"provider": "amazon-ses", "priority": 10, "weight": None}]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "provider"),
            ({"provider": "nobody"}, "servers.0"),
            ({"servers": []}, "servers"),
            ({"servers": [{"server": "Relay"}, {"server": "relay"}]}, "servers.1"),
            ({"servers": [{"server": "Relay", "weight": -1}]}, "servers.0.weight"),
            ({"provider": "Relay", "match": {"moon": "full"}}, "match.moon"),
            ({"provider": "Relay", "match": {"recipient_domain": "a b"}}, "match.recipient_domain"),
            ({"provider": "Relay", "match": {"min_size": 5, "max_size": 4}}, "match.max_size"),
            ({"provider": "Relay", "match": {"list": 77}}, "match.list"),
            ({"provider": "Relay", "match": {"list": 2**64 - 1}}, "match.list"),
            ({"provider": "Relay", "match": {"list": ["\u0661", True, {}]}}, "match.list"),
            ({"provider": "Relay", "match": []}, "match"),
        ],
    )
    def test_what_cannot_be_used_is_refused_by_name(self, api: Api, body: dict[str, Any], field: str) -> None:
        api("POST", "/sending-servers", RELAY, status=201)
        told = api("POST", "/routing/rules", {"name": "Mine", **body}, status=400)
        assert field in [fault["field"] for fault in told["errors"]]
        assert models.RoutingRule.select().count() == 0

    def test_a_rule_for_one_domain(self, api: Api) -> None:
        api("POST", "/sending-servers", RELAY, status=201)
        body = {"name": "Shop", "provider": "Relay", "domain": "shop.test"}
        assert api("POST", "/routing/rules", body, status=201)["domain"] == "shop.test"
        api("POST", "/routing/rules", body | {"domain": "other.test"}, status=404)

    def test_a_preview_tells_the_way_and_why(self, api: Api) -> None:
        ask = {"from": "hello@shop.test", "to": ["jane@friends.test", "joe@vip.test"]}
        assert {one["decision"] for one in api("POST", "/routing/rules/preview", ask)["data"]} == {"installation"}
        for name in ("One", "Two"):
            api("POST", "/sending-servers", RELAY | {"name": name}, status=201)
        api("POST", "/sending-servers", RELAY | {"name": "Off", "status": "paused", "priority": 1}, status=201)
        rule = {"name": "VIPs", "match": {"recipient_domain": "vip.test"}, "provider": "Two"}
        api("POST", "/routing/rules", rule, status=201)
        jane, joe = api("POST", "/routing/rules/preview", ask)["data"]
        assert (jane["decision"], jane["rule"], jane["passed_over"]) == ("server", "no_rule", ["Off: it is paused"])
        assert jane["server"] in ("One", "Two") and set(jane["candidates"]) == {"Off", "One", "Two"}
        assert (joe["rule"], joe["server"], joe["candidates"]) == ("VIPs", "Two", ["Two"])
        (wished, _) = api("POST", "/routing/rules/preview", ask | {"routing": {"server": "off"}})["data"]
        assert (wished["decision"], wished["rule"], wished["server"]) == ("waits", "request", "Off")
        told = api("POST", "/routing/rules/preview", ask | {"routing": {"server": "none"}}, status=400)
        assert told["errors"][0]["field"] == "routing.server"
        api("POST", "/routing/rules/preview", ask | {"from": "hello@foreign.test"}, status=404)


class TestApart:
    def test_a_stranger_finds_nothing(self, client: FlaskClient, api: Api, app: object) -> None:
        server = api("POST", "/sending-servers", RELAY, status=201)["id"]
        rule = api("POST", "/routing/rules", {"name": "Mine", "provider": "Relay"}, status=201)["id"]
        theirs = Api(client, cast.sender("stranger", "stranger.test"))
        for method, path in (
            ("GET", "/sending-servers/{}"), ("PATCH", "/sending-servers/{}"), ("DELETE", "/sending-servers/{}"),
            ("POST", "/sending-servers/{}/test"), ("GET", "/routing/rules/{}"), ("PATCH", "/routing/rules/{}"),
            ("DELETE", "/routing/rules/{}"),
        ):  # fmt: skip
            mine, absent = (rule, "rul_01K0Q4T2X8Z3V5N7B9C1D3F5G7") if "rules" in path else (server, ABSENT)
            answers = [theirs(method, path.format(id_), {}, status=404) for id_ in (mine, absent, "nonsense")]
            assert len({(one["code"], one["message"]) for one in answers}) == 1
        for name in (server, "Relay"):
            theirs("POST", "/routing/rules", {"name": "Theirs", "provider": name}, status=400)
        assert theirs("GET", "/sending-servers")["data"] == theirs("GET", "/routing/rules")["data"] == []
        assert api("GET", f"/sending-servers/{server}")["status"] == "active"

    def test_scopes_and_keys_of_one_domain(self, client: FlaskClient, api: Api, who: cast.Sender) -> None:
        server = api("POST", "/sending-servers", RELAY, status=201)["id"]
        reader = Api(client, who, scopes=["read:sending-servers", "read:routing"])
        reader("GET", "/sending-servers")
        reader("GET", "/routing/rules")
        reader("POST", "/sending-servers", RELAY | {"name": "b"}, status=403)
        reader("DELETE", f"/sending-servers/{server}", status=403)
        reader("POST", "/routing/rules", {"name": "x", "provider": "Relay"}, status=403)
        sender = Api(client, who, scopes=["send"])
        sender("GET", "/sending-servers", status=403)
        domain = Api(client, who, domain_id=who.domain.id)
        assert domain("GET", "/sending-servers")["data"][0]["id"] == server
        domain("PATCH", f"/sending-servers/{server}", {"status": "paused"}, status=403)
        domain("POST", "/routing/rules", {"name": "x", "provider": "Relay"}, status=403)

    def test_credentials_are_sealed_to_their_row(self, api: Api) -> None:
        body = RELAY | {"username": "me", "password": "a-secret-word"}
        api("POST", "/sending-servers", body, status=201)
        row = models.SendingServer.get()
        assert "a-secret-word" not in row.credentials
        opened = sending_servers.opened(row.id)
        assert opened is not None and opened[1] == {"username": "me", "password": "a-secret-word"}


def test_every_change_is_in_the_audit_log_and_no_secret(api: Api) -> None:
    body = RELAY | {"username": "me", "password": "a-secret-word"}
    server = f"/sending-servers/{api('POST', '/sending-servers', body, status=201)['id']}"
    api("PATCH", server, {"weight": 5, "password": "another-secret"})
    rule = api("POST", "/routing/rules", {"name": "Mine", "provider": "Relay"}, status=201)["id"]
    api("PATCH", f"/routing/rules/{rule}", {"enabled": False})
    api("DELETE", f"/routing/rules/{rule}", status=204)
    api("DELETE", server, status=204)
    rows = [(row.action, row.data) for row in models.AuditEntry.select().order_by(models.AuditEntry.id)]
    told = [(action, data) for action, data in rows if action.startswith(("sending_server.", "routing_rule."))]
    assert [action for action, _ in told] == [
        "sending_server.create", "sending_server.update", "routing_rule.create", "routing_rule.update",
        "routing_rule.delete", "sending_server.delete",
    ]  # fmt: skip
    assert '"weight":5' in told[1][1] and '"enabled":false' in told[3][1]
    assert not any("secret" in data for _, data in told)


def test_a_preview_reads_an_address_of_a_subdomain(who: cast.Sender) -> None:
    (found,) = routing_previews.preview(caller=who.owner, sender_domain="x@news.shop.test", recipients=["a@b.test"])
    assert found.verdict.rule == "no_server"


class TestJourney:
    """From the API to the relays: the way of each message, and why."""

    @pytest.fixture
    def relays(self, api: Api) -> Iterator[dict[str, SmtpSink]]:
        with SmtpSink() as fast, SmtpSink() as cheap:
            for name, peer in (("fast", fast), ("cheap", cheap)):
                api("POST", "/sending-servers", RELAY | {"name": name, "port": peer.port}, status=201)
            rules = {
                "Receipts": {"match": {"purpose": "transactional"}, "provider": "fast"},
                "Newsletters": {"match": {"purpose": "marketing"}, "servers": ["cheap"]},
            }
            for name, rule in rules.items():
                api("POST", "/routing/rules", {"name": name, **rule}, status=201)
            yield {"fast": fast, "cheap": cheap}
            deliveries.close()

    def _drain(self) -> None:
        while deliveries.drain(0.1):
            assert deliveries.engine().wait_idle(20)

    def test_the_purpose_of_a_send_chooses_the_server(self, api: Api, relays: dict[str, SmtpSink]) -> None:
        mail = {"from": "hello@shop.test", "to": "jane@friends.test", "subject": "Welcome", "html": "<p>Hi</p>"}
        receipt = api("POST", "/send", mail | {"routing": {"purpose": "transactional"}}, status=202)
        news = api("POST", "/send", mail | {"routing": {"purpose": "marketing"}}, status=202)
        wished = api("POST", "/send", mail | {"routing": {"server": "cheap"}}, status=202)
        told = api("POST", "/send", mail | {"routing": {"server": "none"}}, status=400)
        assert told["errors"][0]["field"] == "routing.server"
        self._drain()
        assert (relays["fast"].count, relays["cheap"].count) == (1, 2)
        for sent, server, rule in (
            (receipt, "fast", "Receipts"), (news, "cheap", "Newsletters"), (wished, "cheap", "request"),
        ):  # fmt: skip
            explained = api("GET", f"/messages/{sent['id']}/explain")
            assert f"over {server}" in str(explained)
            route = next(one for one in explained["verdicts"] if one["gate"] == "route")
            assert (route["rule"], route["decision"]) == (rule, "server")

    def test_each_message_of_a_bulk_goes_its_own_way(self, api: Api, relays: dict[str, SmtpSink]) -> None:
        mail = {"from": "hello@shop.test", "subject": "Welcome", "text": "Hi"}
        some = [
            mail | {"to": f"r{n}@friends.test", "routing": {"purpose": ("transactional", "marketing")[n % 3 == 0]}}
            for n in range(30)
        ]
        api("POST", "/send/bulk", {"messages": some}, status=202)
        self._drain()
        assert (relays["fast"].count, relays["cheap"].count) == (20, 10)
