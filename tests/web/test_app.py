"""The application around the doors: other paths, other origins, proxies, health and metrics."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway import clock
from gateway.services import delivery_times, health, shaping
from models import Counter, Delivery, Heartbeat, Lane, Webhook, WebhookDelivery
from models.database import StoreUnavailable
from models.vocabulary import DeliveryState, EventKind, LaneKind
from tests.conftest import use_settings
from web.app import create_app


def test_script_is_loaded_as_a_module(app: Flask) -> None:
    assert sys.modules["api_php"].blueprint.root_path == app.blueprints["api_php"].root_path
    assert sys.modules["api_php"].__file__.endswith("api.php.py")


def test_unknown_path_is_json(client: FlaskClient) -> None:
    answer = client.get("/no/such/path")
    assert answer.status_code == 404
    assert answer.get_json()["code"] == "not_found"
    assert answer.get_json()["request_id"] == answer.headers["X-Request-Id"]


def test_wrong_method_is_json_and_says_which_are_right(client: FlaskClient) -> None:
    answer = client.post("/health")
    assert (answer.status_code, answer.get_json()["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


def test_wrong_method_on_the_end_user_surface(client: FlaskClient) -> None:
    answer = client.put("/api/v1/email")
    assert answer.status_code == 405
    assert list(answer.get_json()) == ["Errors"] and answer.headers["Allow"]


def test_failure_tells_nothing(store: str) -> None:
    app = create_app()

    def explode() -> Any:
        raise RuntimeError("secret internals")

    app.add_url_rule("/explode", view_func=explode)
    answer = app.test_client().get("/explode")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert b"secret" not in answer.data
    assert answer.headers["X-Request-Id"] in answer.get_json()["message"]


def test_store_away(store: str) -> None:
    app = create_app()

    def away() -> Any:
        raise StoreUnavailable("gone")

    app.add_url_rule("/away", view_func=away)
    answer = app.test_client().get("/away")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.get_json()["code"] == "unavailable"


@pytest.mark.parametrize("proxies, seen", [("0", "127.0.0.1"), ("1", "203.0.113.9"), ("2", "198.51.100.7")])
def test_client_address_behind_proxies(store: str, tmp_path: Any, proxies: str, seen: str) -> None:
    use_settings(tmp_path, TRUSTED_PROXIES=proxies)
    app = create_app()
    from flask import request

    app.add_url_rule("/who", view_func=lambda: request.remote_addr or "")
    answer = app.test_client().get("/who", headers={"X-Forwarded-For": "198.51.100.7, 203.0.113.9"})
    assert answer.text == seen


def test_other_origins_are_off_by_default(client: FlaskClient) -> None:
    answer = client.get("/health", headers={"Origin": "https://app.example.com"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_other_origins_that_are_named(store: str, tmp_path: Any) -> None:
    use_settings(tmp_path, CORS_ORIGINS="https://app.example.com")
    client = create_app().test_client()
    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    for path in ("/api.php", "/api/v1/email"):
        answer = client.options(path, headers=asked)
        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in client.get("/health", headers={"Origin": "https://evil.test"}).headers


def test_health_without_a_supervisor_is_the_database(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMMANDPOST_RUN_PARTS", raising=False)
    assert client.get("/health").status_code == 200


def test_health_waits_for_every_part(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMANDPOST_RUN_PARTS", "web,deliver,beat")
    health.beat("deliver")
    answer = client.get("/health")
    assert (answer.status_code, answer.get_json()["missing"]) == (503, ["beat"])
    health.beat("beat")
    health.beat("beat")
    assert client.get("/health").status_code == 200


def test_health_misses_a_part_that_fell_silent(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMANDPOST_RUN_PARTS", "web,beat")
    health.beat("beat")
    Heartbeat.update(at_ms=clock.now_ms() - health.ALIVE_MS - 1).execute()
    assert client.get("/health").get_json()["missing"] == ["beat"]


def test_health_of_another_host_does_not_count(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMANDPOST_RUN_PARTS", "beat")
    Heartbeat.create(host="another.example", part="beat", pid=1, at_ms=clock.now_ms())
    assert client.get("/health").status_code == 503


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_health_when_the_database_is_away(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    def away() -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(health, "check_store", away)
    answer = client.get(path)
    assert (answer.status_code, answer.get_json()["missing"]) == (503, ["database"])


def test_ready(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/ready").status_code == 200
    monkeypatch.setattr("gateway.services.schema.pending", lambda: ["0002_next"])
    assert client.get("/ready").get_json() == {"status": "migrating", "missing": ["0002_next"]}


@pytest.fixture
def figures(app: Flask) -> None:
    """One delivery overdue by a minute, one due later, one done; two webhook rows waiting, one told."""
    now = clock.now_ms()
    lane = Lane.create(kind=LaneKind.DELIVER, account_id=1)
    rows = [
        (DeliveryState.QUEUED, now - 60_000),
        (DeliveryState.DEFERRED, now + 60_000),
        (DeliveryState.DELIVERED, None),
    ]
    for state, due_ms in rows:
        Delivery.create(
            message_id=1, account_id=1, domain_id=1, rcpt="a@example.com", state=state, due_ms=due_ms,
            lane_id=lane.id if due_ms else None, expires_ms=now,
        )  # fmt: skip
    for domain, tag, n in ((1, "", 3), (2, "", 4), (1, "tagged", 3)):
        Counter.create(domain_id=domain, day=1, kind=EventKind.DELIVERED, tag=tag, n=n)
    from gateway import ids

    hook = Webhook.create(
        uuid=ids.new_uuid(), account_id=1, surface="octeth", url="http://x.test", events="[]", kinds=0, secret="",
        lane_id=lane.id, created_ms=now,
    )  # fmt: skip
    for state, due in (("live", now), ("live", now), ("told", None)):
        WebhookDelivery.create(
            uuid=ids.new_uuid(), webhook_id=hook.id, message_id=1, event_id=1, state=state, due_ms=due, created_ms=now
        )


def test_snapshot(figures: None) -> None:
    found = health.snapshot()
    assert found["queue"] == {"queued": 1, "deferred": 1}
    assert found["overdue_seconds"] == pytest.approx(60, abs=10)
    assert (found["events"], found["webhook_backlog"]) == ({"delivered": 7}, 2)


def test_snapshot_of_a_paused_lane_is_not_overdue(figures: None) -> None:
    Lane.update(paused_until_ms=clock.now_ms() + 60_000).execute()
    assert health.snapshot()["overdue_seconds"] == 0


def test_snapshot_of_nothing(app: Flask) -> None:
    nothing = {
        "queue": {},
        "overdue_seconds": 0.0,
        "events": {},
        "webhook_backlog": 0,
        "handed_over": 0,
        "delivery_times": delivery_times.of({}),
        "limits": 0,
        "paused": 0,
    }
    assert health.snapshot() == nothing


def test_metrics(client: FlaskClient, figures: None) -> None:
    shaping.add(caller=None, scope="mx", target="yahoo", kind="pause")
    shaping.add(caller=None, scope="mx", target="google", kind="rate", value=10)
    client.post("/api.php?Command=User.Get")
    client.post("/api.php?Command=" + "no" * 50)
    client.get("/a/scanner/was/here")
    text = client.get("/metrics").text
    for line in (
        'commandpost_queue_deliveries{state="deferred"} 1.0',
        'commandpost_events_total{kind="delivered"} 7.0',
        "commandpost_webhook_backlog 2.0",
        "commandpost_limits 2.0",
        "commandpost_paused_destinations 1.0",
        "commandpost_store_up 1.0",
    ):
        assert line in text
    assert 'commandpost_commands_total{command="User.Get",outcome="refused"}' in text
    assert 'commandpost_commands_total{command="unknown",outcome="refused"}' in text
    assert 'route="unmatched"' in text and "scanner" not in text and "nono" not in text


def test_metrics_without_the_store(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(health, "snapshot", away)
    answer = client.get("/metrics")
    assert answer.status_code == 200 and "commandpost_store_up 0.0" in answer.text
