"""`TemplateID`, `TargetListID` and variables on a send: what is stored, and the numbers of what is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

import models
from gateway.mail import container
from gateway.services import contents, expansions, identity, lists, subscribers, templates
from tests.web.rest.end_user.conftest import Sender


def _template(account_id: int, **parts: Any) -> int:
    own = {"name": "T", "subject": "Hi {{firstName}}", "html": "<p>{{firstName}}</p>", "text": None} | parts
    return templates.add(caller=identity.for_account(account_id), **own).id


def _list(account_id: int, *emails: str) -> int:
    caller = identity.for_account(account_id)
    made = lists.add(caller=caller, name="L")
    for email in emails:
        subscribers.add(caller=caller, list_id=made.id, email=email, fields={"firstName": "Jane"})
    return made.id


def _stored() -> tuple[str, str | None, str | None]:
    message = models.Message.get()
    html, text, _ = container.deserialise(contents.load([message.content_id])[message.content_id][1])
    return message.subject, html, text


BARE = {"Subject": None, "ContentType": None, "HtmlContent": None}


@pytest.mark.parametrize("name", ["Variables", "variables", "MergeFields", "TemplateData"])
@pytest.mark.parametrize("form", [False, True])
def test_a_template_brings_what_the_request_does_not(sender: Sender, name: str, form: bool) -> None:
    made = _template(sender.account.id)
    answer = sender.send(form=form, **BARE, TemplateID=str(made), **{name: {"firstName": "<Zoë>"}})
    assert answer.status_code == 200, answer.text
    assert _stored() == ("Hi <Zoë>", "<p>&lt;Zoë&gt;</p>", None)


def test_what_the_request_gives_goes_before_the_template(sender: Sender) -> None:
    made = _template(sender.account.id)
    answer = sender.send(TemplateID=made, Subject="Own {{x}}", HtmlContent="<b>{{x}}</b>", Variables={"x": 1})
    assert answer.status_code == 200, answer.text
    assert _stored()[:2] == ("Own 1", "<b>1</b>")


def test_without_template_or_variables_braces_are_just_braces(sender: Sender) -> None:
    assert sender.send(HtmlContent="{{ as it is }} {% too", Subject="{{").status_code == 200
    assert _stored()[:2] == ("{{", "{{ as it is }} {% too")


def test_a_list_needs_no_to_and_keeps_the_sources(sender: Sender) -> None:
    made = _list(sender.account.id, "a@friends.test", "b@friends.test")
    answer = sender.send(To=None, TargetListID=str(made), HtmlContent="Hi {{firstName}}", Variables={"x": 1})
    assert answer.status_code == 200, answer.text
    assert _stored()[1] == "Hi {{firstName}}"
    headers = orjson.loads(models.Message.get().headers)
    assert (headers["list"], headers["variables"], headers["to"]) == (made, {"x": 1}, [])
    assert expansions.drain(5) == 2


def test_numbers(sender: Sender) -> None:
    stranger = sender.add_account("stranger@people.test")
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({"TemplateID": 999_999}, [15]),
        ({"TemplateID": "abc"}, [15]),
        ({"TemplateID": {"a": 1}}, [15]),
        ({**BARE, "TemplateID": _template(stranger.id)}, [15]),
        ({"To": None, "TargetListID": 999_999}, [16]),
        ({"TargetListID": 999_999}, [16]),
        ({"To": None, "TargetListID": "abc"}, [16]),
        ({"To": None, "TargetListID": _list(sender.account.id)}, [16]),
        ({"To": None, "TargetListID": _list(stranger.id, "a@friends.test")}, [16]),
        ({**BARE, "To": None, "TemplateID": 0, "TargetListID": 0}, [15, 16]),
        ({"TargetListID": _list(sender.account.id, "a@friends.test")}, [100010]),
        ({"Variables": [1]}, [100010]),
        ({"Variables": "text"}, [100010]),
        ({"Variables": {"a": 1}, "HtmlContent": "{{ a"}, [100010]),
        ({"TemplateID": _template(sender.account.id, html="{{ 1 | divided_by: n }}"), "HtmlContent": None}, [100010]),
        ({"Variables": {"a": "x" * 70_000}, "HtmlContent": "{{ a }}"}, [100010]),
    ]
    for changed, codes in cases:
        answer = sender.send(**changed)
        assert ([one["Code"] for one in answer.json()["Errors"]], answer.status_code) == (codes, 422), changed
    assert sender.stored() == []
