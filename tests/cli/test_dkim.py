"""`commandpost domain dkim` and `commandpost notice`: what they print, what they refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from gateway import config, jobs
from gateway.services import rechecks
from models import SenderDomain
from tests.cast import signing_keys
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer

USER = ("--user", "jane@example.com")


@pytest.fixture(autouse=True)
def dns(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[DnsServer]:
    """Jane has the domain example.com, whose imported keys are in DNS."""
    with DnsServer() as running:
        use_settings(tmp_path, DATABASE_URL=store, DNS=running.address)
        words: list[str] = []
        for selector, private in signing_keys():
            (tmp_path / f"{selector}.pem").write_text(private)
            words += ["--dkim", f"{selector}:{tmp_path / selector}.pem"]
        assert main(["user", "add", "--email", "jane@example.com"]) == 0
        assert main(["domain", "add", "example.com", *USER, *words, "--trusted"]) == 0
        capsys.readouterr()
        yield running
    jobs.bind(None)
    config.use(None)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str) -> Any:
        status = main([*words, *USER, "--json"])
        said = capsys.readouterr()
        return json.loads(said.out) if status == 0 else (status, json.loads(said.err)["error"])

    return call


def _dkim(verb: str, *words: str) -> list[str]:
    return ["domain", "dkim", verb, "example.com", *words]


def _check() -> None:
    SenderDomain.update(next_check_ms=1).execute()
    assert rechecks.run(5) == 1


def test_from_a_rotation_to_the_record_that_may_go(
    ask: Any, dns: DnsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ask(*_dkim("list")):
        assert (key["state"], key["in_dns"]) == ("active", None)
        dns.set(key["host"], key["type"], key["value"])
    _check()
    made = ask(*_dkim("rotate"))
    assert [key["state"] for key in made] == ["pending", "pending"]
    assert ask(*_dkim("rotate")) == (1, "rotation_running")
    assert ask(*_dkim("retire", "rsa")) == (1, "key_needed")
    for key in made:
        dns.set(key["host"], key["type"], key["value"])
    _check()
    states = {key["selector"]: key["state"] for key in ask(*_dkim("list"))}
    assert states == {"rsa": "retiring", "ed25519": "retiring"} | {key["selector"]: "active" for key in made}
    assert ask(*_dkim("retire", "rsa")) == (1, "key_needed")
    assert ask(*_dkim("retire", "rsa", "--now"))["record_may_be_removed"] is True
    assert ask(*_dkim("retire", "nobody")) == (1, "not_found")
    assert main([*_dkim("list"), *USER]) == 0
    text = capsys.readouterr().out
    assert "record may be removed" in text
    assert "PRIVATE" not in text
    kinds = [one["kind"] for one in ask("notice", "list")]
    assert (kinds[0], kinds[-1]) == ("dkim.retired", "domain.enabled")
    assert [one["data"]["domain"] for one in ask("notice", "list", "--kind", "dkim.rotation_started")] == [
        "example.com"
    ]
    assert ask("notice", "list", "--domain", "absent.test") == (1, "not_found")
    assert ask("notice", "list", "--kind", "nonsense") == (2, "usage")


def test_a_rotation_is_taken_back(ask: Any) -> None:
    made = ask(*_dkim("rotate"))
    assert ask(*_dkim("rotate", "--cancel")) == {"canceled": [key["selector"] for key in made]}
    assert ask(*_dkim("rotate", "--cancel")) == {"canceled": []}


def test_an_import(ask: Any, dns: DnsServer, tmp_path: Path) -> None:
    taken = ask(*_dkim("import", f"moved:{tmp_path / 'rsa.pem'}"))
    assert (taken["selector"], taken["state"], taken["warning"]) == ("moved", "pending", "")
    dns.set(taken["host"], taken["type"], taken["value"])
    _check()
    assert {key["selector"]: key["state"] for key in ask(*_dkim("list"))}["moved"] == "active"
    assert ask(*_dkim("import", f"moved:{tmp_path / 'rsa.pem'}")) == (1, "selector_in_use")
    assert ask(*_dkim("import", "moved")) == (2, "usage")
    assert ask(*_dkim("import", "other:/nonexistent")) == (2, "usage")
