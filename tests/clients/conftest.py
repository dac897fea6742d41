"""An installation that clients in use are pointed at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.installation import Installation


@dataclass(frozen=True)
class Served:
    """A running installation with a customer: account key, sender key, domain id of `shop.test`."""

    installation: Installation
    account_key: str
    sender_key: str
    domain_id: int

    @property
    def url(self) -> str:
        return self.installation.url


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Installation(tmp_path_factory.mktemp("served") / "var") as installation:
        email = "owner@people.test"
        user = installation.cli("user", "add", "--email", email, "--password", "correct horse battery")
        installation.cli("plan", "set", "--user", email, "--unlimited")
        domain = installation.cli("domain", "add", "shop.test", "--user", email, "--trusted")
        key = installation.cli("key", "add", "--user", email, "--domain", "shop.test")
        yield Served(installation, user["api_key"], key["key"], domain["id"])
