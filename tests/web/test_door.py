"""What the end-user endpoints share: keys, the request rate, refusals."""

from __future__ import annotations

import functools
from typing import Any

import orjson
import pytest
from flask import Blueprint, Flask, Response, request
from flask.testing import EnvironBuilder, FlaskClient

from gateway import errors
from gateway.services import identity, users
from models.account import Plan
from models.database import StoreUnavailable
from tests.web.conftest import Account, sender_key
from web import reading
from web.app import create_app
from web.rest.end_user import blueprint, door

_failing: list[Exception] = []


@pytest.fixture
def failing() -> list[Exception]:
    """What the endpoint under test raises, if anything."""
    _failing.clear()
    return _failing


@functools.cache
def _probed() -> Flask:
    """The application and an endpoint that does nothing but enter."""
    app = create_app()
    probe = Blueprint("probe", __name__, url_prefix="/probe")
    probe.error_handler_spec[None] = blueprint.error_handler_spec[None]

    @probe.route("", methods=["GET", "POST", "DELETE"])
    def enter() -> Response:
        for error in _failing:
            raise error
        caller = door.enter(request, reading.read(request), "send", no_key=(1, "Missing SenderAPIKey"))
        return door.answer({"DomainID": caller.domain_id})

    app.register_blueprint(probe)
    return app


@pytest.fixture
def client(store: str, cheap_passwords: None, failing: list[Exception]) -> FlaskClient:
    """A client of the endpoint."""
    identity.forget()
    return _probed().test_client()


@pytest.fixture
def key(owner: Account) -> str:
    users.set_plan(email=owner.email, unlimited=True)
    return sender_key(owner, domain_id=7)


def codes(answer: Any) -> list[int]:
    return [error["Code"] for error in answer.get_json()["Errors"]]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_key_as_bearer(client: FlaskClient, key: str, scheme: str) -> None:
    assert client.get("/probe", headers={"Authorization": f"{scheme} {key}"}).get_json() == {"DomainID": 7}


def test_key_in_query_or_body_of_any_kind(client: FlaskClient, key: str) -> None:
    for answer in (
        client.get("/probe", query_string={"SenderAPIKey": key}),
        client.post("/probe", json={"senderApiKey": key}),
        client.post("/probe", data={"SenderAPIKey": key}),
        client.delete("/probe", data=orjson.dumps({"SenderAPIKey": key})),
    ):
        assert answer.get_json() == {"DomainID": 7}


def test_a_valid_key_wins(client: FlaskClient, key: str) -> None:
    header = {"Authorization": f"Bearer {key}"}
    assert client.post("/probe", json={"SenderAPIKey": "example-sender-api-key"}, headers=header).status_code == 200
    header = {"Authorization": "Bearer wrong"}
    assert client.post("/probe", json={"SenderAPIKey": key}, headers=header).status_code == 200


def test_two_valid_keys_of_different_domains(client: FlaskClient, key: str, owner: Account) -> None:
    other = sender_key(owner, domain_id=8)
    answer = client.post("/probe", json={"SenderAPIKey": other}, headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, codes(answer)) == (401, [13])


@pytest.mark.parametrize("body, code", [({}, 1), ({"SenderAPIKey": ""}, 1), ({"SenderAPIKey": "x"}, 13)])
def test_no_key_and_a_wrong_one(client: FlaskClient, key: str, body: dict[str, Any], code: int) -> None:
    answer = client.post("/probe", json=body)
    assert (answer.status_code, codes(answer)) == (401, [code])


@pytest.mark.parametrize("wrong", [5, True, ["x"], {"a": 1}])
def test_a_key_of_a_wrong_type_is_wrong(client: FlaskClient, key: str, wrong: Any) -> None:
    assert codes(client.post("/probe", json={"SenderAPIKey": wrong})) == [13]


def test_account_key_is_no_sender_key(client: FlaskClient, owner: Account) -> None:
    assert codes(client.post("/probe", json={"SenderAPIKey": owner.api_key})) == [13]


def test_request_rate(client: FlaskClient, owner: Account) -> None:
    Plan.get_or_create(name="Two", defaults={"requests": 2, "request_window": 60})
    users.set_plan(email=owner.email, plan="Two")
    key = sender_key(owner, domain_id=7)
    header = {"Authorization": f"Bearer {key}"}
    first, second, third = (client.get("/probe", headers=header) for _ in range(3))
    Plan.delete().where(Plan.name == "Two").execute()
    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("2", "1")
    assert first.headers["RateLimit-Policy"] == '"requests";q=2;w=60'
    assert first.headers["RateLimit"].startswith('"requests";r=1;t=')
    assert second.headers["X-RateLimit-Remaining"] == "0"
    assert (third.status_code, codes(third), third.headers["X-RateLimit-Remaining"]) == (429, [429], "0")
    seconds = third.headers["Retry-After"]
    text = f"Too many requests. Wait for {seconds} seconds for another 2 attempts."
    assert third.get_json()["Errors"][0]["Message"] == text


def test_repeated_slashes_are_one(client: FlaskClient) -> None:
    for path in ("/api/v1//email", "/api//v1/webhooks", "/api/v1/webhooks//7"):
        method = "POST" if path.endswith("email") else "DELETE"
        asked = EnvironBuilder(client.application, "/", method=method).get_environ()
        answer = client.open(asked | {"PATH_INFO": path})
        assert (answer.status_code, answer.mimetype) == (401, "application/json")


def test_no_rate_headers_without_a_limit(client: FlaskClient, key: str) -> None:
    answer = client.get("/probe", headers={"Authorization": f"Bearer {key}"})
    assert not [name for name, _ in answer.headers if "ratelimit" in name.lower()]


def test_bodies_that_cannot_be_read(client: FlaskClient, key: str) -> None:
    answer = client.post("/probe", data=b"[1]", content_type="application/json")
    assert (answer.status_code, codes(answer)) == (400, [100000])
    answer = client.post("/probe", data=b'{"a":' * 40 + b"1" + b"}" * 40)
    assert (answer.status_code, codes(answer)) == (422, [100010])


@pytest.mark.parametrize(
    "error, status, code",
    [
        (errors.Invalid("wrong"), 422, 100010),
        (errors.TooLarge("too large"), 413, 100010),
        (StoreUnavailable("gone"), 503, 100005),
        (errors.Unavailable(retry_after=5), 503, 100005),
        (RuntimeError("secret internals"), 500, 100005),
    ],
)
def test_refusals(client: FlaskClient, failing: list[Exception], error: Exception, status: int, code: int) -> None:
    failing.append(error)
    answer = client.get("/probe")
    assert (answer.status_code, codes(answer)) == (status, [code])
    assert b"secret" not in answer.data
    assert answer.headers.get("Retry-After") == ("5" if status == 503 else None)


def test_codes_are_listed_once_and_in_order(app: Flask) -> None:
    with app.test_request_context():
        answer = door.refuse([(20, "b"), (3, "a"), (20, "b")], 422)
    assert orjson.loads(answer.data) == {"Errors": [{"Code": 3, "Message": "a"}, {"Code": 20, "Message": "b"}]}


def test_revoked_key_stops_at_the_door(client: FlaskClient, key: str) -> None:
    from gateway import clock
    from models.api import ApiKey

    assert client.post("/probe", json={"SenderAPIKey": key}).status_code == 200
    ApiKey.update(revoked_ms=clock.now_ms()).execute()
    identity.forget()
    assert codes(client.post("/probe", json={"SenderAPIKey": key})) == [13]
