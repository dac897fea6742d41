"""The web's cast, for commands that are called through their door, and a caller of commands past HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from commands.dispatch import dispatch
from gateway.services import keys
from models import database as db
from tests import cast
from tests.web.conftest import app, cheap_passwords, client, operator, owner

__all__ = ["Call", "app", "cheap_passwords", "client", "operator", "owner"]

Call = Callable[..., dict[str, Any]]


def caller(who: cast.Sender) -> Call:
    """Dispatch commands of the gateway with an account key of `who`; the answer's body, HTTP 200 asserted."""
    _, key = db.in_transaction(lambda tx: keys.create_key(tx, account_id=who.owner.account_id))

    def ask(name: str, **params: Any) -> dict[str, Any]:
        fields = {"command": f"EmailGateway.{name}", "apikey": key}
        fields |= {param.lower(): value for param, value in params.items()}
        answer = dispatch(fields, ip="127.0.0.1", request_id="test")
        assert answer.status == 200
        return answer.body

    return ask


@pytest.fixture
def who(store: str) -> cast.Sender:
    return cast.sender()


@pytest.fixture
def call(who: cast.Sender) -> Call:
    return caller(who)
