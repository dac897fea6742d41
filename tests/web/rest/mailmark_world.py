"""A domain with a Mailmark key, and a client that is made as its published one is: of a base URL and a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.services import keys
from models import database as db
from tests import cast


def key(sender: cast.Sender, *, org_wide: bool = False, **options: Any) -> str:
    """A Mailmark key of the domain, or of all domains of its account."""
    domain_id = None if org_wide else sender.domain.id
    made = db.in_transaction(
        lambda tx: keys.create_key(
            tx, account_id=sender.owner.account_id, domain_id=domain_id, surface="mailmark", **options
        )
    )
    return made[1]


@dataclass(frozen=True)
class Api:
    """Calls below `/v1` with one key."""

    client: FlaskClient
    key: str

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        return self.client.open(
            f"/v1{path}", method=method, json=body, headers={"Authorization": f"Bearer {self.key}", **headers}
        )

    def get(self, path: str) -> Any:
        answer = self("GET", path)
        assert answer.status_code == 200, answer.get_json()
        return answer.get_json()
