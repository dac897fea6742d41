"""`/api.php` from the outside: what is read, how it is answered, and that nothing makes it fall over."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from flask import Flask
from flask.testing import EnvironBuilder, FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from commands import registry
from commands.registry import Needs
from gateway import errors
from models.database import StoreUnavailable
from tests.application import application
from tests.conftest import use_settings
from tests.web.conftest import Account, Served


def post(client: FlaskClient, body: dict[str, Any], **options: Any) -> Any:
    answer = client.post("/api.php", json=body, **options)
    return answer.get_json(), answer.status_code


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the command table, so that a test can add to it."""
    registry.all_commands()
    monkeypatch.setattr(registry, "_table", dict(registry._table))


def test_unknown_command(client: FlaskClient) -> None:
    text = 'Invalid API command: "No.Such" not found.'
    assert post(client, {"Command": "No.Such"}) == (
        {
            "Success": False,
            "ErrorCode": 100003,
            "ErrorText": text,
            "Errors": [{"Code": 100003, "Message": text}],
        },
        400,
    )


@pytest.mark.parametrize("body", [{}, {"Command": ""}, {"Command": 5}, {"Command": None}, {"Command": ["User.Get"]}])
def test_missing_command(client: FlaskClient, body: dict[str, Any]) -> None:
    answer, status = post(client, body)
    assert (answer["ErrorCode"], answer["ErrorText"], status) == (100003, 'Invalid API command: "" not found.', 400)


@pytest.mark.parametrize("path", ["/api.php//", "/api.php//x", "/api.php/a//b", "/api.php///v1/x.json"])
def test_repeated_slashes_are_one(client: FlaskClient, path: str) -> None:
    asked = EnvironBuilder(client.application, "/", query_string="Command=No.Such", method="POST").get_environ()
    answer = client.open(asked | {"PATH_INFO": path})
    assert (answer.status_code, answer.get_json()["ErrorCode"]) == (400, 100003)


@pytest.mark.parametrize("path", ["/api.php", "/api.php/", "/api.php/anything/at/all"])
def test_path_behind_the_script_is_ignored(client: FlaskClient, owner: Account, path: str) -> None:
    answer = client.get(path, query_string={"command": "user.GET", "apikey": owner.api_key})
    assert answer.get_json()["UserInfo"]["EmailAddress"] == owner.email


def test_every_way_to_ask(client: FlaskClient, owner: Account) -> None:
    fields = {"Command": "User.Get", "APIKey": owner.api_key}
    raw = orjson.dumps(fields)
    for answer in (
        client.get("/api.php", query_string=fields),
        client.post("/api.php", query_string=fields),
        client.post("/api.php", query_string=fields, content_type="application/json"),
        client.post("/api.php", data=fields),
        client.post("/api.php", data=fields, content_type="multipart/form-data"),
        client.post("/api.php", json=fields),
        client.post("/api.php", data=raw, content_type="application/x-www-form-urlencoded"),
        client.post("/api.php?Command=No.Such", json=fields),
        client.post("/api.php?COMMAND=user.get", json={"apikey": owner.api_key, "RememberMe": "1", "SessionID": ""}),
        client.get("/api.php", data=raw),
        client.delete("/api.php", data=raw),
    ):
        assert answer.status_code == 200
        assert answer.get_json()["Success"] is True and answer.get_json()["ErrorCode"] == 0


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND"])
def test_methods_not_supported(client: FlaskClient, method: str) -> None:
    answer = client.open("/api.php?Command=User.Get", method=method)
    assert answer.status_code == 400
    if method != "HEAD":
        assert answer.get_json()["ErrorCode"] == 100001


@pytest.mark.parametrize("body", [b"{", b"[1]", b"nonsense", b'{"a": NaN}', b'{"a": "\\udfff"}', b'{"a":"\xff"}'])
def test_body_that_is_no_json_object(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/api.php", data=body, content_type="application/json")
    assert (answer.status_code, answer.get_json()["ErrorCode"]) == (400, 100000)
    assert answer.get_json()["Success"] is False


def test_too_deep_is_an_undocumented_fault(client: FlaskClient) -> None:
    answer = client.post("/api.php", data=b'{"a":' * 40 + b"1" + b"}" * 40)
    assert (answer.status_code, answer.get_json()["ErrorCode"]) == (200, 100010)
    assert "nested" in answer.get_json()["ErrorText"]


@pytest.mark.parametrize(
    "credentials",
    [{}, {"SessionID": "0" * 32}, {"APIKey": "wrong"}, {"APIKey": {"a": 1}}, {"SessionID": 5}, {"AdminAPIKey": "x"}],
)
def test_not_authenticated(client: FlaskClient, owner: Account, credentials: dict[str, Any]) -> None:
    answer, status = post(client, {"Command": "User.Get"} | credentials)
    assert (answer["Success"], answer["ErrorCode"], status) == (False, 99998, 200)


def test_operators_only(client: FlaskClient, owner: Account, operator: Account, table: None) -> None:
    registry.command("Test.Operate", summary="", needs=Needs.OPERATOR)(lambda caller, params: {"Email": caller.email})
    assert post(client, {"Command": "Test.Operate"})[0]["ErrorCode"] == 99998
    assert post(client, {"Command": "Test.Operate", "APIKey": owner.api_key})[0]["ErrorCode"] == 99999
    assert post(client, {"Command": "Test.Operate", "AdminAPIKey": owner.api_key})[0]["ErrorCode"] == 99998
    assert post(client, {"Command": "Test.Operate", "AdminAPIKey": operator.api_key})[0]["Email"] == operator.email


def test_unforeseen_failure_tells_nothing_but_an_id(client: FlaskClient, table: None, caplog: Any) -> None:
    def explode(caller: Any, params: Any) -> dict[str, Any]:
        raise RuntimeError("secret internals")

    registry.command("Test.Explode", summary="", needs=Needs.ANYONE)(explode)
    answer = client.post("/api.php", json={"Command": "Test.Explode"})
    assert (answer.status_code, answer.get_json()["ErrorCode"]) == (500, 100005)
    assert answer.headers["X-Request-Id"] in answer.get_json()["ErrorText"]
    assert b"secret" not in answer.data
    assert any(record.request_id == answer.headers["X-Request-Id"] for record in caplog.records)


def test_failure_outside_of_a_command(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*args: Any) -> None:
        raise RuntimeError("secret internals")

    monkeypatch.setattr("web.reading.read", explode)
    answer = client.post("/api.php", json={})
    assert (answer.status_code, answer.get_json()["ErrorCode"]) == (500, 100005)
    assert b"secret" not in answer.data


@pytest.mark.parametrize("cause", [StoreUnavailable("gone"), errors.Unavailable(retry_after=5)])
def test_store_away(client: FlaskClient, table: None, cause: Exception) -> None:
    def away(caller: Any, params: Any) -> dict[str, Any]:
        raise cause

    registry.command("Test.Away", summary="", needs=Needs.ANYONE)(away)
    answer = client.post("/api.php", json={"Command": "Test.Away"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.get_json()["Success"] is False


def test_xml(client: FlaskClient) -> None:
    answer = client.get("/api.php?Command=%01a]]%3E%3Cb%3E&ResponseFormat=XML")
    assert answer.mimetype == "text/xml"
    root = ElementTree.fromstring(answer.data)
    assert (root.tag, root.findtext("ErrorCode")) == ("response", "100003")
    assert root.findtext("Errors/node_0/Message") == 'Invalid API command: "a]]><b>" not found.'


@pytest.mark.parametrize("word", ["xml", "Xml", "JSON", "", "YAML"])
def test_anything_but_xml_is_json(client: FlaskClient, word: str) -> None:
    assert client.get(f"/api.php?ResponseFormat={word}").mimetype == "application/json"


def test_jsonp(client: FlaskClient) -> None:
    answer = client.get("/api.php?JSONPCallBack=true&callback=my.call_back")
    assert answer.mimetype == "application/javascript"
    matched = re.fullmatch(rb"my\.call_back\((.*)\)", answer.data)
    assert matched and orjson.loads(matched[1])["ErrorCode"] == 100003


@pytest.mark.parametrize("name", ["alert(1)", "a;b", "1a", "", "a..b", "<x>", "a" * 129, "a\n"])
def test_jsonp_with_a_name_that_is_none(client: FlaskClient, name: str) -> None:
    answer = client.get("/api.php", query_string={"JSONPCallBack": "true", "callback": name})
    assert answer.mimetype == "application/json" and answer.get_json()


def test_request_id_on_every_answer(client: FlaskClient) -> None:
    ids = {
        client.open(path, method=method).headers["X-Request-Id"]
        for path, method in [("/api.php", "GET"), ("/health", "GET"), ("/nothing", "GET"), ("/health", "DELETE")]
    }
    assert len(ids) == 4 and all(ids)


def _chunked(data: bytes) -> bytes:
    head = b"POST /api.php HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [data[at : at + 50_000] for at in range(0, len(data), 50_000)]
    return head + b"".join(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in pieces) + b"0\r\n\r\n"


def test_chunked_body(served: Served) -> None:
    assert b"100003" in served.exchange(_chunked(b'{"Command": "x"}'))


@pytest.fixture
def small(store: str, tmp_path: Any) -> Flask:
    use_settings(tmp_path, MESSAGE_SIZE="1024")
    return application()


class TestTooLarge:
    """With a body limit of about one megabyte."""

    @pytest.fixture
    def app(self, small: Flask) -> Flask:
        return small

    def test_body_with_a_length(self, served: Served) -> None:
        body = b'{"Command": "User.Get", "x": "' + b"x" * 1_400_000 + b'"}'
        head = f"POST /api.php HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        answer = served.exchange(head + body)
        assert b"200 OK" in answer and b"100010" in answer and b"exceeds" in answer

    def test_length_alone_is_enough_to_refuse(self, served: Served) -> None:
        answer = served.exchange(b"POST /api.php HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        assert b"100010" in answer and b"exceeds" in answer

    def test_chunked_body(self, served: Served) -> None:
        answer = served.exchange(_chunked(b'{"x": "' + b"x" * 1_400_000 + b'"}'))
        assert b"100010" in answer and b"exceeds" in answer

    def test_end_user_surface_answers_413(self, client: FlaskClient) -> None:
        answer = client.post("/api/v1/email", data=b'{"x": "' + b"x" * 1_400_000 + b'"}')
        assert answer.status_code == 413
        assert answer.get_json()["Errors"][0]["Code"] == 100010


json_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    json_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
NAMES = ["Username", "Password", "APIKey", "TFACode", "SessionID", "ResponseFormat", "JSONPCallBack", "callback"]


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    command=st.sampled_from(["User.Get", "User.Logout", "User.Login"]) | json_values,
    fields=st.dictionaries(st.sampled_from(NAMES), json_values, max_size=4),
)
def test_wrong_types_never_break_it(client: FlaskClient, command: Any, fields: dict[str, Any]) -> None:
    def spelled(value: Any) -> Any:
        return str(value) if isinstance(value, (int, float)) and not -(2**63) <= value < 2**64 else value

    body = {name: spelled(value) for name, value in fields.items() if name != "Password"}
    try:
        raw = orjson.dumps({"Command": command} | body)
    except TypeError:
        return
    answer = client.post("/api.php", data=raw)
    assert answer.status_code in (200, 400)
    assert answer.data
