"""Logging in and out over the command door."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pyotp
import pytest
import time_machine
from flask.testing import FlaskClient

from gateway import clock, vault
from gateway.services import users
from models.account import Account as Row
from models.account import Session
from tests.conftest import use_settings
from tests.web.conftest import Account


def call(client: FlaskClient, command: str, **fields: Any) -> dict[str, Any]:
    answer = client.post("/api.php", json={"Command": command} | fields)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.get_json()
    return body


@pytest.fixture
def session(client: FlaskClient, owner: Account) -> str:
    return str(call(client, "User.Login", Username=owner.email, Password=owner.password)["SessionID"])


def test_login(client: FlaskClient, owner: Account) -> None:
    answer = call(client, "User.Login", Username="OWNER@Example.com", Password=owner.password, RememberMe="1")
    assert answer["Success"] is True and answer["ErrorCode"] == 0
    assert re.fullmatch(r"[0-9a-f]{32}", answer["SessionID"])
    info = answer["UserInfo"]
    assert (info["UserID"], info["EmailAddress"]) == (str(owner.id), owner.email)
    assert (info["FirstName"], info["LastName"], info["AccountStatus"]) == ("Jane", "Doe", "Enabled")


def test_session_is_stored_as_a_fingerprint_only(client: FlaskClient, session: str) -> None:
    row = Session.get()
    assert row.token_hash == vault.fingerprint(session) != session


def test_login_with_the_key_alone(client: FlaskClient, owner: Account) -> None:
    answer = call(client, "User.Login", APIKey=owner.api_key)
    assert call(client, "User.Get", SessionID=answer["SessionID"])["UserInfo"]["EmailAddress"] == owner.email
    assert call(client, "User.Login", APIKey="wrong-key")["ErrorCode"] == [3]


@pytest.mark.parametrize(
    "fields, codes",
    [
        ({}, [1, 2]),
        ({"Username": "owner@example.com"}, [2]),
        ({"Password": "x"}, [1]),
        ({"Username": "owner@example.com", "Password": "wrong password"}, [3]),
        ({"Username": "nobody@example.com", "Password": "correct horse battery"}, [3]),
        ({"Username": {"a": 1}, "Password": "x"}, [3]),
        ({"Username": "x" * 300, "Password": "x"}, [3]),
        ({"Username": "owner@example.com", "Password": "x" * 2000}, [3]),
    ],
)
def test_failures_are_lists(client: FlaskClient, owner: Account, fields: dict[str, Any], codes: list[int]) -> None:
    answer = call(client, "User.Login", **fields)
    assert (answer["Success"], answer["ErrorCode"]) == (False, codes)
    assert len(answer["ErrorText"]) == len(codes)
    if codes == [3]:
        assert answer["ErrorText"] == ["Invalid login information"]


def test_session_works_until_logout(client: FlaskClient, session: str) -> None:
    assert call(client, "User.Get", SessionID=session)["Success"] is True
    assert call(client, "User.Logout", SessionID=session) == {"Success": True, "ErrorCode": 0}
    assert call(client, "User.Get", SessionID=session)["ErrorCode"] == 99998
    assert call(client, "User.Logout", SessionID=session)["ErrorCode"] == 99998


def test_session_expires(client: FlaskClient, session: str, settings: Any) -> None:
    with time_machine.travel(clock.now().timestamp() + settings.session_hours * 3600 - 5, tick=False):
        assert call(client, "User.Get", SessionID=session)["Success"] is True
    with time_machine.travel(clock.now().timestamp() + settings.session_hours * 3600 + 5, tick=False):
        assert call(client, "User.Get", SessionID=session)["ErrorCode"] == 99998


def test_a_valid_credential_beside_a_bad_one_wins(client: FlaskClient, owner: Account, session: str) -> None:
    assert call(client, "User.Get", SessionID="0" * 32, APIKey=owner.api_key)["Success"] is True
    assert call(client, "User.Get", SessionID=session, APIKey="wrong")["Success"] is True


@pytest.mark.parametrize("session", ["0" * 32, "0" * 100])
def test_logout_with_a_bad_session_beside_a_valid_key(client: FlaskClient, owner: Account, session: str) -> None:
    answer = call(client, "User.Logout", SessionID=session, APIKey=owner.api_key)
    assert answer == {"Success": True, "ErrorCode": 0}


def test_disabled_account(client: FlaskClient, owner: Account, session: str) -> None:
    users.set_status(email=owner.email, status="disabled")
    assert call(client, "User.Login", Username=owner.email, Password=owner.password)["ErrorCode"] == [3]
    assert call(client, "User.Login", APIKey=owner.api_key)["ErrorCode"] == [3]
    assert call(client, "User.Get", SessionID=session)["ErrorCode"] == 99998
    assert call(client, "User.Get", APIKey=owner.api_key)["ErrorCode"] == 99998


@pytest.fixture
def secret(owner: Account) -> Iterator[str]:
    """The second factor of the owner, at a moment that stands still."""
    text = pyotp.random_base32()
    row = Row.get_by_id(owner.id)
    Row.update(tfa_secret=vault.seal(text, users.tfa_row(row.uuid))).where(Row.id == owner.id).execute()
    with time_machine.travel(clock.now(), tick=False):
        yield text


def test_second_factor(client: FlaskClient, owner: Account, secret: str) -> None:
    known = {"Username": owner.email, "Password": owner.password}
    code = pyotp.TOTP(secret).at(clock.now())
    wrong = "000000" if code != "000000" else "000001"
    assert call(client, "User.Login", **known)["ErrorCode"] == [101]
    assert call(client, "User.Login", **known, TFACode=wrong)["ErrorCode"] == [6]
    assert call(client, "User.Login", **known | {"Password": "wrong password"}, TFACode=code)["ErrorCode"] == [3]
    assert call(client, "User.Login", **known, TFACode=code)["Success"] is True


def test_too_many_failures(client: FlaskClient, owner: Account, tmp_path: Any) -> None:
    use_settings(tmp_path, LOGIN_ATTEMPTS="3")
    known = {"Username": owner.email, "Password": owner.password}
    for _ in range(3):
        assert call(client, "User.Login", Username=owner.email, Password="wrong")["ErrorCode"] == [3]
    refused = call(client, "User.Login", **known)
    assert refused["ErrorCode"] == [3]
    other = client.post("/api.php", json={"Command": "User.Login"} | known, environ_base={"REMOTE_ADDR": "127.0.0.2"})
    assert other.get_json()["Success"] is True
    with time_machine.travel(clock.now().timestamp() + 15 * 60 + 2, tick=False):
        assert call(client, "User.Login", **known)["Success"] is True


def test_success_forgets_failures(client: FlaskClient, owner: Account, tmp_path: Any) -> None:
    use_settings(tmp_path, LOGIN_ATTEMPTS="2")
    known = {"Username": owner.email, "Password": owner.password}
    for _ in range(3):
        assert call(client, "User.Login", Username=owner.email, Password="wrong")["ErrorCode"] == [3]
        assert call(client, "User.Login", **known)["Success"] is True


def test_unknown_names_take_the_same_work(
    client: FlaskClient, owner: Account, operator: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    verify = users._verify
    monkeypatch.setattr(users, "_verify", lambda hashed, password: checked.append(hashed) or verify(hashed, password))
    call(client, "User.Login", Username="nobody@example.com", Password="wrong")
    call(client, "Admin.Login", Username=owner.email, Password=owner.password)
    users.add(email="nopassword@example.com")
    call(client, "User.Login", Username="nopassword@example.com", Password="")
    call(client, "User.Login", Username="nopassword@example.com", Password="wrong")
    call(client, "User.Login", Username=owner.email, Password="wrong")
    assert len(checked) == 4
    assert {hashed.rsplit("$", 2)[0] for hashed in checked} == {checked[0].rsplit("$", 2)[0]}


def test_operator_login(client: FlaskClient, owner: Account, operator: Account) -> None:
    answer = call(client, "Admin.Login", Username=operator.email, Password=operator.password)
    assert answer["AdminInfo"]["AdminID"] == str(operator.id)
    assert call(client, "User.Get", SessionID=answer["SessionID"])["Success"] is True
    assert call(client, "Admin.Login", Username=owner.email, Password=owner.password)["ErrorCode"] == [3]
    assert call(client, "Admin.Login")["ErrorCode"] == [1, 2]
