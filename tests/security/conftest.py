"""One whole installation for all attacks, with an owner whose credentials the attacker has or has not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from tests.installation import Installation


@dataclass(frozen=True)
class Target:
    """A running installation with a customer: account key, sender key, domain id."""

    installation: Installation
    account_key: str
    sender_key: str
    domain_id: int

    @property
    def log(self) -> str:
        return self.installation.log.read_text(errors="replace")

    def counts(self) -> dict[str, int]:
        """Rows of every table that must survive."""
        with closing(sqlite3.connect(self.installation.data / "commandpost.db")) as store:
            names = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: store.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0] for name in names}


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with Installation(tmp_path_factory.mktemp("attacked") / "var") as installation:
        email = "owner@people.test"
        user = installation.cli("user", "add", "--email", email, "--password", "correct horse battery")
        installation.cli("plan", "set", "--user", email, "--unlimited")
        domain = installation.cli("domain", "add", "shop.test", "--user", email, "--trusted")
        key = installation.cli("key", "add", "--user", email, "--domain", "shop.test")
        yield Target(installation, user["api_key"], key["key"], domain["id"])
