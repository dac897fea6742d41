"""`/v1/lists/{id}/imports`: every form in which a file may come, and what a client sees of it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

import models
from gateway.services import list_imports
from tests import cast
from tests.conftest import use_settings
from tests.web.conftest import Served, app, cheap_passwords, client, served
from tests.web.rest.audience_world import Api, api

__all__ = ["app", "cheap_passwords", "client", "served"]

CSV = b"email,name\njane@x.test,Jane\nnobody,N\n"
LINES = b'{"email": "jane@x.test", "name": "Jane"}\n{"email": "nobody"}\n'


@pytest.fixture
def call(client: FlaskClient) -> Api:
    return api(client, cast.sender())


@pytest.fixture
def path(call: Api) -> str:
    return f"/lists/{call('POST', '/lists', {'name': 'News'})['id']}/imports"


FORMS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "csv": (CSV, "text/csv", {}),
    "csv of an encoding": (
        "email,name\njane@x.test,Jané\nnobody,N\n".encode("latin-1"),
        "text/csv; charset=ISO-8859-1",
        {},
    ),
    "encoding in the query": (
        "email,name\njane@x.test,J\nnobody,N\n".encode("utf-16"),
        "text/csv",
        {"encoding": "utf-16"},
    ),
    "curl --data-binary": (CSV, "application/x-www-form-urlencoded", {}),
    "no type": (CSV, "", {}),
    "lines of json": (LINES, "application/x-ndjson", {}),
    "lines of json without a type": (LINES, "application/x-www-form-urlencoded", {}),
    "format says lines": (LINES, "text/plain", {"format": "jsonl"}),
    "csv in json": (orjson.dumps({"csv": CSV.decode()}), "application/json", {}),
    "csv in json with curl -d": (orjson.dumps({"csv": CSV.decode()}), "application/x-www-form-urlencoded", {}),
    "list in json": (b'[{"email": "jane@x.test"}, "nobody"]', "application/json", {}),
    "subscribers in json": (b'{"subscribers": [{"email": "jane@x.test"}, {}]}', "application/json", {}),
    "mapping in the query": (b"A,B\njane@x.test,J\nx,y\n", "text/csv", {"mapping": '{"a": "email", "B": "name"}'}),
    "mapping in json": (
        orjson.dumps({"csv": "A\njane@x.test\nx\n", "mapping": {"A": "email"}}),
        "application/json",
        {},
    ),
}


def test_a_file_in_many_forms(call: Api) -> None:
    for name, (data, kind, query) in FORMS.items():
        _comes_in(call, name, data, kind, query)


def _comes_in(call: Api, name: str, data: bytes, kind: str, query: dict[str, Any]) -> None:
    path = f"/lists/{call('POST', '/lists', {'name': name})['id']}/imports"
    made = call.send(path, data, kind, **query)
    assert (call.status, made["state"], made["done"]) == (202, "queued", 0), (name, made)
    assert made["id"].startswith("imp_")
    list_imports.drain(10)
    shown = call("GET", f"{path}/{made['id']}")
    assert (shown["state"], shown["total"], shown["added"], shown["failed"], shown["error"]) == ("done", 2, 1, 1, None)
    assert shown["bytes_done"] == shown["bytes"]
    answer = call.fetch(f"{path}/{made['id']}/errors")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    rows = list(csv.reader(io.StringIO(answer.get_data(as_text=True))))
    assert (rows[0], len(rows)) == (["line", "column", "value", "reason"], 2)
    assert [one["id"] for one in call("GET", path)["data"]] == [made["id"]]
    people = call("GET", path.removesuffix("/imports") + "/subscribers")["data"]
    assert [one["email"] for one in people] == ["jane@x.test"]


@pytest.mark.parametrize(
    ("name", "data", "more"),
    [
        ("people.csv", CSV, {}),
        ("people.ndjson", LINES, {}),
        ("people.json", b'[{"email": "jane@x.test"}, "nobody"]', {}),
        ("people.txt", b"A\njane@x.test\nnobody\n", {"mapping": '{"A": "email"}'}),
        ("people", "email,n\njane@x.test,ö\nnobody,\n".encode("latin-1"), {"encoding": "latin-1"}),
        ("people", LINES, {"format": "jsonl"}),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_in_a_form(call: Api, path: str, name: str, data: bytes, more: dict[str, str]) -> None:
    answer = call.client.post(
        f"/v1{path}", data={"file": (io.BytesIO(data), name), **more}, content_type="multipart/form-data",
        headers={"Authorization": f"Bearer {call.key}"},
    )  # fmt: skip
    assert answer.status_code == 202, answer.get_json()
    list_imports.drain(10)
    shown = call("GET", f"{path}/{answer.get_json()['id']}")
    assert (shown["state"], shown["added"], shown["failed"]) == ("done", 1, 1)


@pytest.mark.parametrize(
    ("data", "kind", "query", "field"),
    [
        (b"", "text/csv", {}, "file"),
        (b"name\nJane\n", "text/csv", {}, "file"),
        (CSV, "text/csv", {"mapping": "[]"}, "mapping"),
        (CSV, "text/csv", {"mapping": '{"email": 5}'}, "mapping"),
        (CSV, "text/csv", {"encoding": "klingon"}, "encoding"),
        (CSV, "text/csv", {"format": "xlsx"}, "format"),
        (b'{"people": []}', "application/json", {}, "csv"),
        (b'{"csv": 5}', "application/json", {}, "csv"),
        (b'{"subscribers": []}', "application/json", {}, "csv"),
        (b"[]", "application/json", {}, "csv"),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", {}, "file"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_that_cannot_be(call: Api, path: str, data: bytes, kind: str, query: Any, field: str) -> None:
    told = call.send(path, data, kind, **query)
    assert (call.status, [one["field"] for one in told["errors"]]) == (400, [field]), told
    assert models.ListImport.select().count() == models.ListImportPart.select().count() == 0


def test_a_line_that_is_no_json_is_told_without_its_end(call: Api, path: str) -> None:
    made = call.send(path, b'{"email": "jane@x.test"}\r\nno json\r\n', "application/x-ndjson")
    list_imports.drain(10)
    told = list(csv.DictReader(io.StringIO(call.fetch(f"{path}/{made['id']}/errors").get_data(as_text=True))))
    assert [(row["line"], row["value"]) for row in told] == [("2", "no json")]


def test_what_is_no_json_or_no_form_is_refused(call: Api, path: str) -> None:
    assert call.send(path, b"{", "application/json")["code"] == "invalid_json"
    assert call.status == 400
    call.send(path, b"nothing", "multipart/form-data")
    assert call.status == 400


def test_a_file_that_is_too_large(call: Api, path: str, tmp_path: Path) -> None:
    use_settings(tmp_path, IMPORT_SIZE=str(2**20))
    for data, kind in (
        (CSV + b"a@x.test\n" * 200_000, "text/csv"),
        (b"[" + b'"a@x.test",' * 300_000, "application/json"),
    ):
        told = call.send(path, data, kind)
        assert (call.status, told["code"]) == (413, "too_large")
    assert models.ListImport.select().count() == models.ListImportPart.select().count() == 0


def test_a_body_that_breaks_off_leaves_nothing(app: Any, served: Served, client: FlaskClient) -> None:
    call = api(client, cast.sender())
    path = f"/v1/lists/{call('POST', '/lists', {'name': 'News'})['id']}/imports"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {call.key}\r\nContent-Type: text/csv\r\n"
    answer = served.exchange(head.encode() + b"Content-Length: 900000\r\n\r\nemail\n" + b"a@x.test\n" * 20_000)
    assert b" 400 " in answer.splitlines()[0]
    assert models.ListImport.select().count() == models.ListImportPart.select().count() == 0


def test_an_import_of_another_list_is_none(call: Api, path: str) -> None:
    made = call.send(path, CSV, "text/csv")
    other = call("POST", "/lists", {"name": "Other"})["id"]
    assert call("GET", f"/lists/{other}/imports/{made['id']}")["code"] == "not_found"
    assert call("GET", f"{path}/imp_nonsense")["code"] == "not_found"
    reader = api(call.client, call.who, scopes=["read:lists"])
    reader.send(path, CSV, "text/csv")
    assert reader.status == 403
