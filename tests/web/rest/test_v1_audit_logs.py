"""The audit log as it is read below `/v1`: calls of every door, filters, pages, files, and who may see it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

import models
from gateway.services import apis, audit_calls, audit_chain, audit_verify, users
from models import database as db
from tests import cast
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.v1_api import Api

__all__ = ["app", "cheap_passwords", "client"]


@pytest.fixture
def who(app: object) -> cast.Sender:
    return cast.sender()


@pytest.fixture
def api(client: FlaskClient, who: cast.Sender) -> Api:
    return Api(client, who)


def calls(api: Api, query: str = "") -> list[tuple[Any, ...]]:
    found = api.pages(f"/v1/audit-logs?kind=call&{query}")
    return [(one["door"], one["action"], one["object"], one["result"], one["status"], one["code"]) for one in found]


def test_calls_of_every_door_of_http_are_told_once(client: FlaskClient, api: Api, who: cast.Sender) -> None:
    sender_key = apis.add(caller=who.owner, domain_id=who.domain.id, description="app").key
    account_key = users.add_key(email=who.owner.email)["key"]

    def command(name: str, **fields: Any) -> Any:
        return client.post("/api.php", json={"Command": name, "APIKey": account_key, **fields})

    command("EmailGateway.GetDomain", DomainID=who.domain.id)
    command("EmailGateway.GetDomain", DomainID=99)
    mail = {
        "Subject": "Hi", "ContentType": "plain", "PlainContent": "Hi", "To": [{"email": "jane@friends.test"}],
        "From": {"email": "hello@shop.test", "name": "Shop"},
    }  # fmt: skip
    sent = client.post("/api/v1/email", json=mail, headers={"Authorization": f"Bearer {sender_key}"})
    message_id = sent.get_json()["MessageID"]
    client.post("/api/v1/email", json=mail, headers={"Authorization": "Bearer nobody"})
    client.get("/v1/webhooks/whk_1")
    api("GET", "/v1/webhooks?limit=1")
    api("GET", f"/v1/webhooks/{'whk_' + '0' * 26}", status=404)
    api("GET", "/v1/webhooks?limit=x", status=400)
    client.get("/health")
    assert list(reversed(calls(api))) == [
        ("command", "EmailGateway.GetDomain", f"domain:{who.domain.id}", "ok", 200, ""),
        ("command", "EmailGateway.GetDomain", "domain:99", "refused", 200, "2"),
        ("rest", "POST /api/v1/email", f"message:{message_id}", "ok", 200, ""),
        ("v1", "GET /v1/webhooks", "", "ok", 200, ""),
        ("v1", "GET /v1/webhooks/<webhook_id>", "webhook:whk_" + "0" * 26, "refused", 404, "not_found"),
        ("v1", "GET /v1/webhooks", "", "refused", 400, "invalid_parameter"),
    ]
    # Reading the log is a call as well.
    assert calls(api)[0][1] == "GET /v1/audit-logs"
    assert audit_verify.verify().ok


def test_an_entry_says_who_with_which_key_from_where(client: FlaskClient, api: Api, who: cast.Sender) -> None:
    answer = api.raw("GET", "/v1/webhooks")
    (entry,) = api("GET", f"/v1/audit-logs?key={api.row.id}")["data"]
    assert entry["key"] == {"id": api.row.id, "prefix": api.row.prefix}
    assert (entry["actor"], entry["ip"]) == ("owner@people.test", "127.0.0.1")
    assert entry["request_id"] == answer.headers["X-Request-Id"]
    assert api("GET", f"/v1/audit-logs/{entry['id']}") == entry
    assert api("GET", f"/v1/audit-logs?key={api.row.prefix}&limit=200")["data"][-1] == entry
    session = client.post(
        "/api.php", json={"Command": "User.Login", "Username": who.owner.email, "Password": "no"}
    ).get_json()
    assert session["Success"] is False


def test_filters_and_pages(api: Api, who: cast.Sender) -> None:
    for _ in range(3):
        api("GET", "/v1/webhooks")
    api("GET", "/v1/analytics/summary")
    assert len(calls(api, "action=GET /v1/webhooks&limit=2")) == 3
    assert {action for _, action, *_ in calls(api, "action=GET /v1/ana*")} == {"GET /v1/analytics/summary"}
    assert calls(api, "actor=nobody@people.test") == calls(api, "until=2020-01-01") == []
    assert len(calls(api, "result=refused")) == 0
    assert calls(api, "user=nobody@people.test") == []
    slug = models.Account.get_by_id(who.owner.account_id).slug
    mine = f"user={who.owner.email}&workspace={slug}&action=GET /v1/webhooks"
    assert len(calls(api, mine)) == 3
    key = next(one["id"] for one in api("GET", "/v1/keys")["data"] if one["prefix"] == api.row.prefix)
    assert len(calls(api, f"{mine}&key={key}")) == len(calls(api, f"{mine}&key={api.row.prefix}")) == 3
    for query in ("workspace=elsewhere", "key=key_" + "0" * 26):
        api("GET", f"/v1/audit-logs?{query}", status=404)
        api("GET", f"/v1/audit-logs/export?{query}", status=404)
    for query in ("kind=other", "result=maybe", "since=soon", "cursor=x", "limit=0"):
        assert api("GET", f"/v1/audit-logs?{query}", status=400)["code"] == "invalid_parameter"
    api("GET", "/v1/audit-logs/aud_" + "0" * 26, status=404)


def test_the_files_have_every_entry_the_oldest_first(api: Api) -> None:
    api("POST", "/v1/webhooks", {"url": "https://example.com/x"}, status=201)
    api("GET", "/v1/webhooks")
    answer = api.raw("GET", "/v1/audit-logs/export")
    assert answer.mimetype == "application/x-ndjson" and "attachment" in answer.headers["Content-Disposition"]
    lines = [json.loads(line) for line in answer.get_data().splitlines()]
    assert [line["sequence"] for line in lines] == list(range(1, len(lines) + 1))
    listed = api.pages("/v1/audit-logs?limit=200")
    assert lines == list(reversed(listed))[: len(lines)]
    answer = api.raw("GET", "/v1/audit-logs/export?format=csv&kind=change")
    rows = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    assert answer.mimetype == "text/csv"
    assert [row["action"] for row in rows] == [line["action"] for line in lines if line["kind"] == "change"]
    assert list(rows[0]) == list(lines[0])


def test_the_head_is_what_verify_expects(api: Api) -> None:
    api("GET", "/v1/webhooks")
    head = api("GET", "/v1/audit-logs/head")
    assert audit_verify.verify(expect=(head["sequence"], head["hash"])).ok
    db.in_transaction(lambda tx: tx.execute("DELETE FROM audit_entry WHERE seq = ?", (head["sequence"],)))
    assert not audit_verify.verify(expect=(head["sequence"], head["hash"])).ok


def test_scopes_domains_and_other_people(client: FlaskClient, api: Api, who: cast.Sender) -> None:
    api("GET", "/v1/webhooks")
    Api(client, who, scopes=["read:audit"])("GET", "/v1/audit-logs")
    paths = ("/v1/audit-logs", "/v1/audit-logs/export", "/v1/audit-logs/head", "/v1/audit-logs/aud_" + "0" * 26)
    (entry,) = api("GET", "/v1/audit-logs?action=GET /v1/webhooks")["data"]
    for path in (*paths, f"/v1/audit-logs/{entry['id']}"):
        Api(client, who, scopes=["send", "read:events"])("GET", path, status=403)
        Api(client, who, domain=True)("GET", path, status=403)
        assert client.get(path).status_code == 401
    stranger = Api(client, cast.sender("stranger", "stranger.test"))
    theirs = stranger("GET", f"/v1/audit-logs/{entry['id']}", status=404)
    nobodys = stranger("GET", "/v1/audit-logs/aud_" + "0" * 26, status=404)
    assert {**theirs, "request_id": 0} == {**nobodys, "request_id": 0}
    for line in stranger.raw("GET", "/v1/audit-logs/export").get_data().splitlines():
        assert json.loads(line)["account_id"] != who.owner.account_id
    assert who.owner.account_id not in {one["account_id"] for one in stranger.pages("/v1/audit-logs")}


def test_a_call_costs_no_write_to_the_database(api: Api) -> None:
    api("GET", "/v1/webhooks")
    audit_chain.run(5)
    before = db.rows("SELECT COUNT(*) FROM audit_entry")
    api("GET", "/v1/webhooks")
    assert db.rows("SELECT COUNT(*) FROM audit_entry") == before
    assert len(audit_calls.place.written(10)) == 1
    assert b"/v1/webhooks" in audit_calls.place.written(10)[0]
    assert orjson.loads(audit_calls.place.written(10)[0])
