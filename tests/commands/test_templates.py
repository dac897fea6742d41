"""The commands of templates through `/api.php`, every number included."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway.services import users
from tests.web.conftest import Account

PARTS = {
    "TemplateName": "Welcome",
    "Subject": "Hi {{firstName}}",
    "HTMLContent": "<p>{{ firstName }} of {{city}}</p>",
    "PlainContent": "{{ firstName }}",
}


def call(client: FlaskClient, who: Account, name: str, **params: Any) -> dict[str, Any]:
    answer = client.post("/api.php", json={"APIKey": who.api_key, "Command": f"EmailGateway.{name}", **params})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


@pytest.fixture
def template(client: FlaskClient, owner: Account) -> str:
    made = call(client, owner, "AddTemplate", **PARTS)
    assert (made["Success"], made["ErrorCode"]) == (True, 0)
    assert isinstance(made["NewTemplateID"], str)
    return str(made["NewTemplateID"])


def test_from_adding_to_deleting(client: FlaskClient, owner: Account, template: str) -> None:
    shown = call(client, owner, "GetTemplate", TemplateID=template)["Template"]
    assert {name: shown[name] for name in PARTS} == PARTS
    assert shown["Variables"] == ["city", "firstName"]
    other = call(client, owner, "AddTemplate", TemplateName="Text", Subject="s", PlainContent="only text")
    listed = call(client, owner, "GetTemplates")
    assert [row["TemplateID"] for row in listed["Templates"]] == [template, other["NewTemplateID"]]
    assert listed["TotalRecords"] == 2
    page = call(client, owner, "GetTemplates", StartFrom=1, RetrieveCount=1)
    assert [row["TemplateName"] for row in page["Templates"]] == ["Text"]
    changed = call(client, owner, "UpdateTemplate", TemplateID=template, Subject="New", PlainContent="")["Template"]
    assert (changed["Subject"], changed["PlainContent"]) == ("New", "")
    assert changed["HTMLContent"] == PARTS["HTMLContent"]
    assert call(client, owner, "DeleteTemplate", TemplateID=template)["Success"] is True
    assert call(client, owner, "GetTemplate", TemplateID=template)["ErrorCode"] == 2


def test_a_preview_by_json_and_by_form(client: FlaskClient, owner: Account, template: str) -> None:
    made = call(client, owner, "PreviewTemplate", TemplateID=template, Variables={"firstName": "<Zoë>"})
    assert (made["Subject"], made["HTMLContent"]) == ("Hi <Zoë>", "<p>&lt;Zoë&gt; of </p>")
    assert (made["PlainContent"], made["MissingVariables"]) == ("<Zoë>", ["city"])
    form = {"APIKey": owner.api_key, "Command": "EmailGateway.PreviewTemplate", "TemplateID": template}
    for variables in ({"Variables[firstName]": "Jane"}, {"variables": '{"firstName": "Jane"}'}):
        assert client.post("/api.php", data=form | variables).get_json()["Subject"] == "Hi Jane"


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("AddTemplate", {}, 1),
        ("AddTemplate", {"TemplateName": "x"}, 2),
        ("AddTemplate", {"TemplateName": "x", "Subject": "s"}, 3),
        ("AddTemplate", {"TemplateName": "x", "Subject": "s", "HTMLContent": "{{ a"}, 4),
        ("AddTemplate", {"TemplateName": "x", "Subject": "{% if %}", "HTMLContent": "a"}, 4),
        ("AddTemplate", {"TemplateName": "x", "Subject": "a\nb", "HTMLContent": "a"}, 100010),
        ("AddTemplate", {"TemplateName": "x", "Subject": ["s"], "HTMLContent": "a"}, 100010),
        ("GetTemplate", {}, 1),
        ("GetTemplate", {"TemplateID": "abc"}, 2),
        ("UpdateTemplate", {}, 1),
        ("UpdateTemplate", {"TemplateID": 999999}, 2),
        ("UpdateTemplate", {"TemplateID": "T", "HTMLContent": "", "PlainContent": ""}, 3),
        ("UpdateTemplate", {"TemplateID": "T", "HTMLContent": "{% nothing %}"}, 4),
        ("DeleteTemplate", {}, 1),
        ("DeleteTemplate", {"TemplateID": 999999}, 2),
        ("PreviewTemplate", {}, 1),
        ("PreviewTemplate", {"TemplateID": 999999}, 2),
        ("PreviewTemplate", {"TemplateID": "T", "Variables": [1]}, 3),
        ("PreviewTemplate", {"TemplateID": "T", "Variables": "no"}, 3),
        ("PreviewTemplate", {"TemplateID": "T", "Variables": {"firstName": "x" * 3_000_000}}, 4),
    ],
)
def test_numbers(
    client: FlaskClient, owner: Account, template: str, name: str, params: dict[str, Any], code: int
) -> None:
    params = {key: template if value == "T" else value for key, value in params.items()}
    answer = call(client, owner, name, **params)
    assert (answer["Success"], answer["ErrorCode"]) == (False, code)


def test_a_stranger_finds_nothing(client: FlaskClient, owner: Account, template: str) -> None:
    made = users.add(email="stranger@example.com", password="correct horse battery")
    stranger = Account(made["id"], made["email"], "", made["api_key"])
    for name in ("GetTemplate", "UpdateTemplate", "DeleteTemplate", "PreviewTemplate"):
        absent = call(client, stranger, name, TemplateID=999999, Subject="x")
        assert call(client, stranger, name, TemplateID=template, Subject="x") == absent
    assert call(client, stranger, "GetTemplates")["Templates"] == []
    assert call(client, owner, "GetTemplate", TemplateID=template)["Template"]["Subject"] == PARTS["Subject"]
