"""A holder of an `X-API-Key`, and what it asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway.services import keys
from models.database import in_transaction
from tests import cast
from tests.web.conftest import app, cheap_passwords, client

__all__ = ["app", "cheap_passwords", "client"]
ROOT = "/api/v1/customer"


def key_of(who: cast.Sender, **options: Any) -> str:
    options = {"surface": "mailerlogic"} | options
    return in_transaction(lambda tx: keys.create_key(tx, account_id=who.owner.account_id, **options))[1]


@dataclass
class Api:
    """The surface as one key's holder calls it; an unexpected status fails with the answer."""

    client: FlaskClient
    key: str

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        headers = {"X-API-Key": self.key} | more.pop("headers", {})
        answer = self.client.open(ROOT + path, method=method, json=body, headers=headers, **more)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return answer.get_json()


@pytest.fixture
def who(app: object) -> cast.Sender:
    return cast.sender()


@pytest.fixture
def api(client: FlaskClient, who: cast.Sender) -> Api:
    return Api(client, key_of(who))
