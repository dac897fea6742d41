"""The API below `/v1` as a holder of a key calls it."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from gateway.services import keys
from models.database import in_transaction
from tests import cast


class Api:
    """Calls with one key, made for it: of the account, or with `domain` of its domain."""

    def __init__(self, client: FlaskClient, who: cast.Sender, *, domain: bool = False, **options: Any) -> None:
        options = {"surface": "mailersio"} | options
        domain_id = who.domain.id if domain else None
        self.row, self.key = in_transaction(
            lambda tx: keys.create_key(tx, account_id=who.owner.account_id, domain_id=domain_id, **options)
        )
        self._client = client

    def raw(self, method: str, path: str, body: Any = None) -> Any:
        return self._client.open(path, method=method, json=body, headers={"Authorization": f"Bearer {self.key}"})

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = self.raw(method, path, body)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return answer.get_json()

    def pages(self, path: str) -> list[Any]:
        """Everything that is listed, page by page."""
        found: list[Any] = []
        page = self("GET", path)
        while True:
            found += page["data"]
            if not page["has_more"]:
                return found
            page = self("GET", f"{path}{'&' if '?' in path else '?'}cursor={page['next_cursor']}")
