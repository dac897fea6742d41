"""`User.Login`, `User.Logout`, `User.Get` and `Admin.Login`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commands.registry import Needs, Visitor, command
from commands.schema import Fault, Params, Text
from gateway import clock, errors
from gateway.services import users
from gateway.services.identity import Caller
from models.account import Account
from models.vocabulary import ACCOUNT_ACTIVE, ACCOUNT_DISABLED, ACCOUNT_UNVERIFIED, ROLE_OPERATOR

_STATUS = {ACCOUNT_ACTIVE: "Enabled", ACCOUNT_UNVERIFIED: "Unverified", ACCOUNT_DISABLED: "Disabled"}
_ERRORS = {
    1: "Username is missing",
    2: "Password is missing",
    3: "Invalid login information",
    6: "Invalid two-factor code",
    101: "Two-factor code required",
}
_REFUSALS: dict[type[errors.GatewayError], int] = {
    errors.LoginFailed: 3,
    errors.RateLimited: 3,
    errors.TfaInvalid: 6,
    errors.TfaRequired: 101,
}
_USER = {
    "UserID": "1",
    "Username": "jane@example.com",
    "EmailAddress": "jane@example.com",
    "FirstName": "Jane",
    "LastName": "Doe",
    "AccountStatus": "Enabled",
    "Plan": "Default",
}


class LoginParams(Params):
    Username = Text(missing=1, invalid=3, max=254, doc="The email address of the account", example="jane@example.com")
    Password = Text(missing=2, invalid=3, max=1024, doc="The password of the account", example="correct horse")
    TFACode = Text(required=False, invalid=6, max=16, doc="The two-factor code, where the account has one")


class KeyLoginParams(LoginParams):
    """An API key stands for both name and password."""

    APIKey = Text(required=False, invalid=3, max=255, doc="The account's API key, instead of name and password")

    def check(self, data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
        values, faults = super().check(data)
        return values, [fault for fault in faults if not (fault.missing and values.get("APIKey"))]


class LogoutParams(Params):
    SessionID = Text(required=False, doc="The session to end")


@command(
    "User.Login",
    summary="Begin a session",
    params=KeyLoginParams,
    errors=_ERRORS,
    refusals=_REFUSALS,
    answer={"SessionID": "8d3f6a5c0b9e4d1a8d3f6a5c0b9e4d1a", "UserInfo": _USER},
    error_list=True,
    needs=Needs.ANYONE,
)
def login(visitor: Visitor, params: dict[str, Any]) -> dict[str, Any]:
    if params.get("APIKey") and not (params.get("Username") and params.get("Password")):
        begun = users.login_with_key(api_key=params["APIKey"].strip())
    else:
        begun = _login(visitor, params, None)
    return {"SessionID": begun.session_id, "UserInfo": _info(begun.account, begun.plan)}


@command(
    "Admin.Login",
    summary="Begin an operator's session",
    params=LoginParams,
    errors=_ERRORS,
    refusals=_REFUSALS,
    answer={"SessionID": "8d3f6a5c0b9e4d1a8d3f6a5c0b9e4d1a", "AdminInfo": {"AdminID": "1"}},
    error_list=True,
    needs=Needs.ANYONE,
)
def admin_login(visitor: Visitor, params: dict[str, Any]) -> dict[str, Any]:
    begun = _login(visitor, params, ROLE_OPERATOR)
    info = {"AdminID": str(begun.account.id)} | _info(begun.account, begun.plan)
    return {"SessionID": begun.session_id, "AdminInfo": info}


@command("User.Logout", summary="End the session", params=LogoutParams)
def logout(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    if params.get("SessionID"):
        users.logout(session_id=params["SessionID"].strip())
    return {}


@command("User.Get", summary="The caller's account", answer={"UserInfo": _USER})
def get(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    account, plan = users.get(caller)
    return {"UserInfo": _info(account, plan)}


def _login(visitor: Visitor, params: dict[str, Any], role: str | None) -> users.Login:
    return users.login(
        username=params["Username"],
        password=params["Password"],
        tfa_code=params.get("TFACode", ""),
        ip=visitor.ip,
        role=role,
    )


def _info(account: Account, plan: str) -> dict[str, Any]:
    first, _, last = account.name.partition(" ")
    return {
        "UserID": str(account.id),
        "UUID": str(account.uuid),
        "Username": account.email,
        "EmailAddress": account.email,
        "Name": account.name,
        "FirstName": first,
        "LastName": last,
        "AccountStatus": _STATUS[account.status],
        "Plan": plan,
        "CreatedAt": clock.sql_text(account.created_ms),
    }
