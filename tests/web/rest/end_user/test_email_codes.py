"""Every documented error of a send, as JSON and as a form, with its text and status."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway import clock, config
from gateway.services import suppressions
from models import database as db

Change = dict[str, Any]

# The document's list, word for word.
DOCUMENT = """
1: Missing SenderAPIKey
2: Invalid DomainID
3: From parameter is either missing or invalid. Make sure you pass both name and email address for the from field
8: Missing Subject
9: Missing ContentType
10: Missing HTMLContent
11: Missing PlainContent
12: Invalid or deactivated user account
13: Invalid SenderAPIKey
14: Email address is in the suppression list. Email delivery is blocked.
15: Invalid TemplateID
16: Invalid TargetListID
17: Email sending limit reached
18: Recipient name or email address is missing
19: Recipient email address is invalid.
20: There is no recipient set for the email.
21: CC name or email address is missing
22: CC email address is invalid.
24: BCC email addresses must be set as an array
25: BCC name or email address is missing
26: BCC email address is invalid.
27: The number of BCC email addresses exceed the allowed email address count
28: Reply-To email addresses must be set as an array
29: Reply-To name or email address is missing
30: Reply-To email address is invalid.
31: The number of Reply-To email addresses exceed the allowed email address count
32: Domain is not activated
34: User account is not verified
35: Invalid ListID
36: Invalid SubscriberID
37: Invalid JourneyID
38: Invalid ActionID
"""
TEXTS = {int(line.partition(": ")[0]): line.partition(": ")[2] for line in DOCUMENT.strip().splitlines()}
STATUS = {1: 401, 13: 401, 2: 404, 12: 404, 14: 409, 32: 403, 34: 403, 17: 429}


def people(count: int, email: str = "user{}@example.org") -> list[dict[str, str]]:
    return [{"email": email.format(i), "name": f"User {i}"} for i in range(count)]


def _disable(sender: Any) -> None:
    sender.change(sender.account, status="disabled")


def _unverified(sender: Any) -> None:
    sender.change(sender.account, status="unverified")


def _delete_domain(sender: Any) -> None:
    sender.change(sender.domain, deleted_ms=clock.now_ms(), enabled_name=None)


def _pending_domain(sender: Any) -> None:
    sender.change(sender.domain, status="pending", enabled_name=None)


def _suppress(sender: Any) -> None:
    for address in ("recipient@example.org", "user0@example.org", "user1@example.org"):
        db.in_transaction(
            lambda tx, address=address: suppressions.add(
                tx, account_id=sender.account.id, domain_id=sender.domain.id, address=address, reason="bounce"
            )
        )


def _no_quota(sender: Any) -> None:
    sender.change(sender.plan, emails_month=0)


@dataclass
class Case:
    code: int
    change: Change = field(default_factory=dict)
    before: Callable[[Any], None] | None = None
    text: str | None = None  # where it is not the document's
    forms: bool = True


EMPTY: Any = ""
CASES = [
    Case(1, {"SenderAPIKey": None}),
    Case(1, {"SenderAPIKey": EMPTY}),
    Case(2, before=_delete_domain),
    Case(3, {"From": None}),
    Case(3, {"From": EMPTY}),
    Case(3, {"From": {"name": "John Doe"}}),
    Case(3, {"From": {"email": "", "name": "John Doe"}}),
    Case(3, {"From": {"email": "not an address", "name": "John Doe"}}),
    Case(3, {"From": {"email": "john@example.net", "name": "John Doe"}}),
    Case(3, {"From": {"email": "john@notexample.com", "name": "John Doe"}}),
    Case(3, {"From": {"email": "john@example.com.evil.test", "name": "John Doe"}}),
    Case(3, {"From": {"email": "john@com", "name": "John Doe"}}),
    Case(3, {"From": [{"email": "john@example.com", "name": "John Doe"}]}),
    Case(3, {"From": 5}),
    Case(8, {"Subject": None}),
    Case(8, {"Subject": "  "}),
    Case(9, {"ContentType": None}),
    Case(9, {"ContentType": "markdown"}),
    Case(9, {"ContentType": ["html"]}),
    Case(10, {"HtmlContent": None}),
    Case(10, {"HtmlContent": "", "PlainContent": "Hello"}),
    Case(11, {"ContentType": "plain"}),
    Case(11, {"ContentType": "Text", "HtmlContent": None}),
    Case(12, before=_disable),
    Case(13, {"SenderAPIKey": "4D196964-B909FDD7-134A4E29-6B0E923E"}),
    Case(13, {"SenderAPIKey": {"a": "b"}}),
    Case(14, before=_suppress),
    Case(14, {"To": people(1), "BCC": [{"email": "USER1@Example.ORG", "name": "x"}]}, before=_suppress),
    Case(15, {"TemplateID": 12}),
    Case(15, {"TemplateID": "x", "Subject": None, "ContentType": None, "HtmlContent": None}),
    Case(16, {"TargetListID": 3}),
    Case(16, {"TargetListID": "x", "To": None}),
    Case(17, before=_no_quota),
    Case(18, {"To": [{"name": "Jane Doe"}]}),
    Case(18, {"To": [{"email": "recipient@example.org"}, {"email": ""}]}),
    Case(18, {"To": {"name": "Jane Doe"}}),
    Case(18, {"To": [None]}, forms=False),
    Case(18, {"To": [{}]}, forms=False),
    Case(19, {"To": [{"email": "nobody", "name": "Jane Doe"}]}),
    Case(19, {"To": "nobody"}),
    Case(19, {"To": [5]}),
    Case(19, {"To": [{"email": 5, "name": "x"}]}),
    Case(19, {"To": "a@example.org, b@example.org"}),
    Case(20, {"To": None}),
    Case(20, {"To": EMPTY}),
    Case(20, {"To": []}, forms=False),
    Case(20, {"To": people(51)}, text="The number of To email addresses exceed the allowed email address count"),
    Case(21, {"CC": [{"name": "Jane Doe"}]}),
    Case(22, {"Cc": [{"email": "nobody@", "name": "Jane Doe"}]}),
    Case(23, {"CC": people(51)}, text="The number of CC email addresses exceed the allowed email address count"),
    Case(24, {"BCC": "user@example.org"}),
    Case(24, {"BCC": {"email": "user@example.org", "name": "User"}}),
    Case(25, {"BCC": [{"name": "Jane Doe"}]}),
    Case(26, {"BCC": [{"email": "@example.org", "name": "Jane Doe"}]}),
    Case(27, {"BCC": people(51)}),
    Case(28, {"ReplyTo": "user@example.org"}),
    Case(28, {"ReplyTo": {"email": "user@example.org", "name": "User"}}),
    Case(29, {"ReplyTo": [{"name": "Jane Doe"}]}),
    Case(30, {"ReplyTo": [{"email": "a b@example.org", "name": "Jane Doe"}]}),
    Case(31, {"ReplyTo": people(6)}),
    Case(32, before=_pending_domain),
    Case(34, before=_unverified),
    *[
        Case(code, {name: value})
        for code, name in ((35, "ListID"), (36, "SubscriberID"), (37, "JourneyID"), (38, "ActionID"))
        for value in ("abc", "-1", "0", [1])
    ],
]


def _id(case: Case) -> str:
    why = case.before.__name__.strip("_") if case.before else ""
    return f"{case.code}-{why}{str(case.change)[:40]}"


AS_JSON_AND_FORM = [
    pytest.param(case, form, id=f"{'form' if form else 'json'}-{_id(case)}")
    for case in CASES
    for form in (False, True)
    if case.forms or not form
]


@pytest.mark.parametrize(("case", "form"), AS_JSON_AND_FORM)
def test_documented_error(sender: Any, case: Case, form: bool) -> None:
    if case.before is not None:
        case.before(sender)
    response = sender.send(form=form, **case.change)
    text = case.text or TEXTS[case.code]
    assert response.json() == {"Errors": [{"Code": case.code, "Message": text}]}
    assert response.status_code == STATUS.get(case.code, 422)
    assert sender.stored() == []


def test_the_cases_cover_the_documents_list() -> None:
    assert {case.code for case in CASES} == set(TEXTS) | {23}


def test_our_words_are_the_documents(sender: Any) -> None:
    from commands.sending import codes

    ours = {code: text for code, text in codes.TEXTS.items() if code != codes.CC_COUNT}
    assert ours == TEXTS


def test_all_errors_are_listed_in_code_order(sender: Any) -> None:
    response = sender.post({"BCC": "x", "ReplyTo": [{}], "CC": [{"email": "x"}], "ListID": "?"})
    codes = [error["Code"] for error in response.json()["Errors"]]
    assert codes == [1, 3, 8, 9, 20, 22, 24, 29, 35]
    assert response.status_code == 401
    assert sender.stored() == []


@pytest.mark.parametrize(
    ("before", "change", "status", "codes"),
    [
        (_pending_domain, {"Subject": None}, 403, [8, 32]),
        (_delete_domain, {"Subject": None, "ListID": "x"}, 404, [2, 8, 35]),
        (_disable, {"HtmlContent": None}, 404, [10, 12]),
        (_unverified, {"SenderAPIKey": "x", "To": None}, 401, [13, 20]),
        (None, {"Subject": 5, "SendAt": "soon", "To": None}, 422, [20, 100010]),
    ],
)
def test_the_gravest_error_decides_the_status(
    sender: Any, before: Callable[[Any], None] | None, change: Change, status: int, codes: list[int]
) -> None:
    if before is not None:
        before(sender)
    response = sender.send(**change)
    assert [error["Code"] for error in response.json()["Errors"]] == codes
    assert response.status_code == status


def test_faults_without_a_number_share_one_entry(sender: Any) -> None:
    (error,) = sender.send(Subject=5, SendAt="soon", Tags=[1], TrackOpens="maybe").json()["Errors"]
    assert error["Code"] == 100010
    for name in ("Subject", "SendAt", "Tags", "TrackOpens"):
        assert name in error["Message"]


class TestKeys:
    def test_bearer_alone_is_enough(self, sender: Any) -> None:
        answer = sender.send(SenderAPIKey=None, headers={"Authorization": f"Bearer {sender.key}"})
        assert answer.status_code == 200

    @pytest.mark.parametrize("place", ["query", "body", "header"])
    def test_a_valid_key_wins_over_the_documents_placeholder(self, sender: Any, place: str) -> None:
        placeholder = "example-sender-api-key"
        headers = {"Authorization": f"Bearer {sender.key if place == 'header' else placeholder}"}
        payload = sender.payload(SenderAPIKey=sender.key if place == "body" else placeholder)
        if place == "query":
            del payload["SenderAPIKey"]
            sender.url += f"?SenderAPIKey={sender.key}"
        assert sender.post(payload, headers=headers).status_code == 200

    def test_two_valid_keys_of_different_domains_are_13(self, sender: Any) -> None:
        _, other = sender.add_domain("example.net")
        response = sender.send(headers={"Authorization": f"Bearer {other}"})
        assert (response.status_code, response.json()["Errors"][0]["Code"]) == (401, 13)

    def test_two_valid_keys_of_one_domain_are_fine(self, sender: Any) -> None:
        assert sender.send(headers={"Authorization": f"Bearer {sender.add_key()}"}).status_code == 200

    def test_a_revoked_or_expired_key_is_13(self, sender: Any) -> None:
        for columns in ({"revoked_ms": 1}, {"expires_ms": 1}):
            response = sender.send(SenderAPIKey=sender.add_key(**columns))
            assert (response.status_code, response.json()["Errors"][0]["Code"]) == (401, 13)


class TestRate:
    def test_over_the_rate_is_429_with_seconds_and_attempts(self, sender: Any) -> None:
        sender.change(sender.plan, requests=2, request_window=60)
        first, second, third = (sender.send() for _ in range(3))
        assert (first.status_code, second.status_code) == (200, 200)
        assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("2", "1")
        assert third.status_code == 429
        (error,) = third.json()["Errors"]
        assert error["Code"] == 429
        found = re.fullmatch(r"Too many requests\. Wait for (\d+) seconds for another 2 attempts\.", error["Message"])
        assert found
        assert third.headers["Retry-After"] == found[1]
        assert 1 <= int(found[1]) <= 60
        assert sender.count("message") == 2

    def test_the_rate_is_each_keys_own(self, sender: Any) -> None:
        sender.change(sender.plan, requests=1, request_window=60)
        other = sender.add_key()
        assert [sender.send().status_code, sender.send().status_code] == [200, 429]
        assert sender.send(SenderAPIKey=other).status_code == 200

    def test_without_a_limit_there_are_no_headers(self, sender: Any) -> None:
        assert "X-RateLimit-Limit" not in sender.send().headers


class TestLimits:
    @pytest.mark.parametrize(
        ("column", "field_name", "code"),
        [("max_to", "To", 20), ("max_cc", "CC", 23), ("max_bcc", "BCC", 27), ("max_reply_to", "ReplyTo", 31)],
    )
    def test_the_plan_overrides_the_setting(self, sender: Any, column: str, field_name: str, code: int) -> None:
        sender.change(sender.plan, **{column: 2})
        assert sender.send(**{field_name: people(2)}).status_code == 200
        response = sender.send(**{field_name: people(3)})
        assert [error["Code"] for error in response.json()["Errors"]] == [code]
        sender.change(sender.plan, **{column: 60})
        assert sender.send(**{field_name: people(60)}).status_code == 200

    def test_a_quota_counts_recipients_and_refuses_the_whole_message(self, sender: Any) -> None:
        sender.change(sender.plan, emails_day=3)
        assert sender.send(To=people(2)).status_code == 200
        refused = sender.send(To=people(2))
        assert (refused.status_code, refused.json()["Errors"][0]["Code"]) == (429, 17)
        assert sender.send(To=people(1)).status_code == 200
        assert (sender.count("message"), sender.count("delivery")) == (2, 3)


class TestNames:
    def test_without_names_it_sends(self, sender: Any) -> None:
        bare = [{"email": "a@example.org"}]
        change = {"From": {"email": "a@example.com"}, "To": bare, "CC": bare, "BCC": bare, "ReplyTo": bare}
        assert sender.send(**change).status_code == 200

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"From": {"email": "a@example.com"}}, 3),
            ({"From": "a@example.com"}, 3),
            ({"To": [{"email": "a@example.org"}]}, 18),
            ({"To": "a@example.org"}, 18),
            ({"CC": [{"email": "a@example.org", "name": " "}]}, 21),
            ({"BCC": [{"email": "a@example.org"}]}, 25),
            ({"ReplyTo": [{"email": "a@example.org"}]}, 29),
        ],
    )
    @pytest.mark.parametrize("by", ["account", "setting"])
    def test_strict_names(
        self, sender: Any, settings: config.Settings, tmp_path: Path, change: Change, code: int, by: str
    ) -> None:
        assert sender.send(**change).status_code == 200
        if by == "account":
            sender.change(sender.account, options='{"strict_names": true}')
        else:
            config.use(config.load({"COMMANDPOST_DATA": str(tmp_path), "COMMANDPOST_SECRET": settings.secret,
                                    "COMMANDPOST_STRICT_NAMES": "1"}))  # fmt: skip
        response = sender.send(**change)
        assert [error["Code"] for error in response.json()["Errors"]] == [code]
        assert sender.send().status_code == 200
