"""A client of `/v1` with a key of its own: what is asked and what comes back, in one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient

from gateway.services import keys
from models.database import in_transaction
from tests import cast


@dataclass
class Api:
    """Calls with one key; `status` and `headers` are those of the last answer."""

    client: FlaskClient
    who: cast.Sender
    key: str
    status: int = 0

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = self.client.open(
            f"/v1{path}", method=method, json=body, query_string=query,
            headers={"Authorization": f"Bearer {self.key}"},
        )  # fmt: skip
        self.status = answer.status_code
        return answer.get_json(silent=True)

    def send(self, path: str, data: bytes, content_type: str, **query: Any) -> Any:
        answer = self.client.post(
            f"/v1{path}", data=data, content_type=content_type, query_string=query,
            headers={"Authorization": f"Bearer {self.key}"},
        )  # fmt: skip
        self.status = answer.status_code
        return answer.get_json(silent=True)

    def fetch(self, path: str) -> Any:
        return self.client.get(f"/v1{path}", headers={"Authorization": f"Bearer {self.key}"})


def api(client: FlaskClient, who: cast.Sender, *, domain: bool = False, **options: Any) -> Api:
    """With a key of Mailers.io, of the account or of its domain."""
    options = {"surface": "mailersio"} | options
    domain_id = who.domain.id if domain else None
    made = in_transaction(
        lambda tx: keys.create_key(tx, account_id=who.owner.account_id, domain_id=domain_id, **options)
    )
    return Api(client, who, made[1])
