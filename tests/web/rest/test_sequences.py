"""`/v1/sequences`."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from gateway.services import mailboxes, sequence_runs
from tests import cast
from tests.web.rest.mailmark_world import Api, key

STEPS = [
    {"type": "send_email", "subject": "Welcome {{firstName}}", "html": "<p>Hello!</p>"},
    {"type": "delay", "delayMs": 86_400_000},
    {"type": "send_email", "subject": "Follow up", "html": "<p>Checking in</p>"},
]
BODY = {"name": "Welcome Series", "from": "hello@shop.test", "steps": STEPS}


@pytest.fixture
def sender(client: FlaskClient) -> cast.Sender:
    found = cast.sender()
    mailboxes.add(caller=found.caller, address="hello")
    return found


@pytest.fixture
def api(client: FlaskClient, sender: cast.Sender) -> Api:
    return Api(client, key(sender))


def test_the_life_of_a_sequence(api: Api) -> None:
    made = api("POST", "/sequences", BODY)
    assert made.status_code == 201
    path = f"/sequences/{made.get_json()['id']}"
    contacts = [{"email": "jane@example.com", "mergeFields": {"firstName": "Jane"}}]
    enrolled = api("POST", f"{path}/enroll", {"contacts": contacts}).get_json()
    assert (enrolled["enrolled"], enrolled["skipped"], len(enrolled["enrollmentIds"])) == (1, 0, 1)
    again = api("POST", f"{path}/enroll", {"contacts": [*contacts, {"email": "bob@example.com"}]})
    assert again.status_code == 200
    assert (again.get_json()["enrolled"], again.get_json()["skipped"]) == (1, 1)
    assert again.get_json()["skippedContacts"] == [{"email": "jane@example.com", "reason": "already enrolled"}]
    sequence_runs.drain(2)
    (one,) = api.get("/sequences")
    assert (one["status"], one["stepCount"], one["sent"]) == ("active", 3, 2)
    six = ("total", "active", "completed", "replied", "bounced", "cancelled")
    assert [one["stats"][name] for name in six] == [2, 2, 0, 0, 0, 0]
    people = api.get(f"{path}/enrollments?status=active&limit=1")
    assert (people["data"][0]["email"], people["has_more"]) == ("bob@example.com", True)
    assert api("PATCH", path, {"status": "paused"}).get_json()["status"] == "paused"
    refused = api("POST", f"{path}/enroll", {"contacts": [{"email": "carl@example.com"}]})
    assert (refused.status_code, refused.get_json()["code"]) == (400, "sequence_not_active")
    assert api("PATCH", path, {"status": "active"}).get_json()["status"] == "active"
    assert api("PATCH", path, {"status": "completed"}).status_code == 400
    gone = api("DELETE", path)
    assert (gone.status_code, gone.get_json()) == (
        200, {"id": one["id"], "status": "completed", "cancelledEnrollments": 2},
    )  # fmt: skip
    assert api("PATCH", path, {"status": "active"}).status_code == 409
    assert api.get(path)["stats"]["cancelled"] == 2


def test_lists_may_come_as_the_text_of_a_form(api: Api) -> None:
    made = api("POST", "/sequences", BODY | {"steps": '[{"type": "send_email", "subject": "x", "html": "y"}]'})
    assert made.status_code == 201
    path = f"/sequences/{made.get_json()['id']}/enroll"
    assert api("POST", path, {"contacts": '[{"email": "jane@example.com"}]'}).get_json()["enrolled"] == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"from": "nobody@shop.test"}, "from"),
        ({"from": None}, "from"),
        ({"steps": STEPS[1:]}, "steps.0.type"),
        ({"steps": "no list"}, "steps"),
    ],
)
def test_bad_sequences_are_400(api: Api, change: dict[str, object], field: str) -> None:
    answer = api("POST", "/sequences", BODY | change)
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize(
    ("contacts", "field"),
    [
        ([], "contacts"),
        ([{"email": f"a{n}@x.test"} for n in range(101)], "contacts"),
        ([{"email": "jane@example.com"}, {"email": "no address"}], "contacts.1.email"),
        ([{"email": "jane@example.com", "mergeFields": [1]}], "contacts.0.mergeFields"),
        ([{"email": "jane@example.com", "mergeFields": {"x": "y" * 20_000}}], "contacts.0.mergeFields"),
    ],
)
def test_bad_contacts_are_400_and_nobody_is_enrolled(api: Api, contacts: list[object], field: str) -> None:
    path = f"/sequences/{api('POST', '/sequences', BODY).get_json()['id']}"
    answer = api("POST", f"{path}/enroll", {"contacts": contacts})
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (400, field)
    assert api.get(path)["stats"]["total"] == 0


def test_a_strangers_sequence_is_absent(api: Api, client: FlaskClient) -> None:
    path = f"/sequences/{api('POST', '/sequences', BODY).get_json()['id']}"
    stranger = Api(client, key(cast.sender("stranger", "other.test")))
    body = {"contacts": [{"email": "jane@example.com"}], "status": "paused"}
    for method, where in (("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/enroll")):
        assert stranger(method, where, None if method == "GET" else body).status_code == 404
    assert stranger("GET", f"{path}/enrollments").status_code == 404
    assert stranger.get("/sequences") == []
    assert api.get(path)["status"] == "active"
