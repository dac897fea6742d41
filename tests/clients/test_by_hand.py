"""Requests as people write them: curl in its habits, forms and JSON of `requests`, keys in any case."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.clients.conftest import Served

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

LETTER = {
    "Subject": "Hello",
    "ContentType": "html",
    "HtmlContent": "<p>x</p>",
    "From": {"email": "hello@shop.test", "name": "The Shop"},
    "To": [{"email": "jane@friends.test", "name": "Jane"}],
}
FORM = (
    *("Subject=Hello", "ContentType=html", "HtmlContent=<p>x</p>"),
    *("From[email]=hello@shop.test", "From[name]=The Shop", "To[0][email]=jane@friends.test", "To[0][name]=Jane"),
)


@pytest.fixture
def curl(served: Served) -> Any:
    """Run curl against a path; its status and its answer."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not here")

    def run(path: str, *arguments: str) -> tuple[int, Any]:
        done = subprocess.run(
            ["curl", "-sS", "-m", "30", "-w", "\n%{http_code}", f"{served.url}{path}", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)

    return run


def _bearer(served: Served) -> tuple[str, str]:
    return "-H", f"Authorization: Bearer {served.sender_key}"


def _each(option: str, fields: tuple[str, ...]) -> list[str]:
    return [word for field in fields for word in (option, field)]


@pytest.mark.parametrize("option", ["-d", "--data-urlencode", "-F"], ids=["form", "urlencoded", "multipart"])
def test_a_send_as_a_form_of_curl(served: Served, curl: Any, option: str) -> None:
    # -F reads a leading < as a file name, --form-string does not.
    fields = _each("--form-string" if option == "-F" else option, FORM)
    status, answer = curl("/api/v1/email", *_bearer(served), *fields)
    assert (status, list(answer)) == (200, ["MessageID"])


def test_a_file_in_a_multipart_form_is_no_failure(served: Served, curl: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("x")
    status, answer = curl("/api/v1/email", *_bearer(served), *_each("--form-string", FORM), "-F", f"upload=@{file}")
    assert status in (200, 422), answer


def test_json_that_curl_calls_a_form(served: Served, curl: Any) -> None:
    status, answer = curl("/api/v1/email", *_bearer(served), "-d", json.dumps(LETTER))
    assert (status, list(answer)) == (200, ["MessageID"])


def test_events_by_query_and_by_a_get_with_a_body(served: Served, curl: Any) -> None:
    fields = _each("-d", ("StartFrom=0", "RetrieveCount=1", "StartDate=1617235200", "Event=accepted"))
    sent = requests.post(
        f"{served.url}/api/v1/email", headers={"Authorization": f"Bearer {served.sender_key}"}, json=LETTER, timeout=30
    )
    assert sent.status_code == 200
    answers = [
        curl("/api/v1/events", "-G", *_bearer(served), *fields),
        curl("/api/v1/events", "-X", "GET", *_bearer(served), *fields),
        curl(
            "/api/v1/events", "-X", "GET", *_bearer(served), "-H", "Content-Type: application/json",
            "-d", '{"startfrom": 0, "RETRIEVECOUNT": "1", "StartDate": 1617235200, "event": "accepted"}',
        ),
    ]  # fmt: skip
    for status, answer in answers:
        assert status == 200
        assert answer["TotalRecords"] >= len(answer["Events"]) == 1


def test_webhooks_with_a_json_type_and_no_body(served: Served, curl: Any) -> None:
    as_json = ("-H", "Content-Type: application/json")
    status, made = curl(
        "/api/v1/webhooks",
        *_bearer(served),
        *as_json,
        "-d",
        '{"event": "click", "WEBHOOKURL": "https://example.com/h"}',
    )
    assert status == 200
    status, listed = curl("/api/v1/webhooks", "-X", "GET", *_bearer(served), *as_json)
    assert status == 200 and made["NewWebhookID"] in [hook["WebhookID"] for hook in listed["Webhooks"]]
    status, gone = curl("/api/v1/webhooks", "-X", "DELETE", *_bearer(served), *as_json)
    assert (status, [error["Code"] for error in gone["Errors"]]) == (422, [1])
    body = json.dumps({"webhookid": made["NewWebhookID"]})
    assert curl("/api/v1/webhooks", "-X", "DELETE", *_bearer(served), "-d", body) == (
        200,
        {"Message": "Webhook successfully deleted."},
    )


@pytest.mark.parametrize(
    "how",
    [
        ("-d", "Command=EmailGateway.GetDomains", "-d", "APIKey={key}", "-d", "SessionID=", "-d", "RememberMe=1"),
        ("-F", "command=EmailGateway.GetDomains", "-F", "apikey={key}"),
        ("-G", "-d", "COMMAND=emailgateway.getdomains", "-d", "ApiKey={key}"),
        ("-d", '{"command": "EmailGateway.GetDomains", "APIKEY": "{key}"}'),
        ("-H", "Content-Type: application/json", "-d", '{"Command": "EmailGateway.GetDomains", "APIKey": "{key}"}'),
    ],
    ids=["form", "multipart", "query", "json as form", "json"],
)
def test_a_command_in_every_dress(served: Served, curl: Any, how: tuple[str, ...]) -> None:
    status, answer = curl("/api.php", *(word.replace("{key}", served.account_key) for word in how))
    assert (status, answer["Success"], answer["ErrorCode"]) == (200, True, 0)
    assert answer["Domains"][0]["DomainName"] == "shop.test"


def test_everything_in_the_query_of_an_empty_post(served: Served) -> None:
    for headers in ({}, {"Content-Type": "application/json"}):
        answer = requests.post(
            f"{served.url}/api.php",
            params={"Command": "EmailGateway.GetDomain", "APIKey": served.account_key, "DomainID": served.domain_id},
            headers=headers,
            timeout=30,
        )
        assert answer.json()["Domain"]["DomainID"] == served.domain_id


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        pairs = [(f"{name}[{key}]" if name else key, it) for key, it in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{name}[{n}]", it) for n, it in enumerate(value)]
    else:
        return {name: str(value)}
    return {key: text for pair in pairs for key, text in _flat(pair[1], pair[0]).items()}


WHOLE: dict[str, Any] = LETTER | {
    "PlainContent": "x",
    "CC": [{"email": "carl@friends.test"}],
    "BCC": [{"email": "bella@friends.test", "name": "Bella"}],
    "ReplyTo": [{"email": "answers@shop.test"}],
    "Attachments": [
        {"Content": "eA==", "Filename": "x.txt", "Type": "text/plain", "Disposition": "attachment", "ContentID": 31}
    ],
    "Headers": {"X-Order-Id": "7"},
    "Tags": ["a", "b"],
    "TrackOpens": 0,
}


@pytest.mark.parametrize("spell", [str, str.lower, str.upper], ids=["as written", "lower", "upper"])
@pytest.mark.parametrize("way", ["json", "form", "multipart"])
def test_a_whole_send_of_requests_with_keys_in_any_case(served: Served, spell: Any, way: str) -> None:
    def spelt(value: Any) -> Any:
        if isinstance(value, dict):
            return {spell(key): it if key == "Headers" else spelt(it) for key, it in value.items()}
        return [spelt(it) for it in value] if isinstance(value, list) else value

    body = spelt(WHOLE)
    how: dict[str, Any] = {
        "json": lambda: {"json": body},
        "form": lambda: {"data": _flat(body)},
        "multipart": lambda: {"files": {key: (None, text) for key, text in _flat(body).items()}},
    }[way]()
    answer = requests.post(
        f"{served.url}/api/v1/email", headers={"Authorization": f"Bearer {served.sender_key}"}, timeout=30, **how
    )
    assert answer.status_code == 200, answer.text
    found = requests.get(
        f"{served.url}/api/v1/events",
        params={"MessageId": answer.json()["MessageID"], "Event": "accepted"},
        headers={"Authorization": f"Bearer {served.sender_key}"},
        timeout=30,
    ).json()
    (event,) = found["Events"]
    assert (event["Tags"], event["Message"]["Headers"]["Cc"]) == (["a", "b"], [["", "carl@friends.test"]])


def test_the_same_letter_by_json_and_by_form_has_the_same_faults(served: Served) -> None:
    wrong: dict[str, Any] = {
        "From": {"name": "x"},
        "To": [{"name": "Jane"}, {"email": "no address"}],
        "CC": [{"name": "x"}],
        "BCC": [{"email": "@"}],
        "ReplyTo": [{"name": "x"}],
    }
    said = []
    for how in ({"json": wrong}, {"data": _flat(wrong)}):
        answer = requests.post(
            f"{served.url}/api/v1/email",
            headers={"Authorization": f"Bearer {served.sender_key}"},
            timeout=30,
            **how,  # type: ignore[arg-type]
        )
        assert answer.status_code == 422
        said.append([error["Code"] for error in answer.json()["Errors"]])
    assert said[0] == said[1] == [3, 8, 9, 18, 19, 21, 26, 29]
