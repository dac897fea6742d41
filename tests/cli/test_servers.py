"""`commandpost server`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from gateway import config, jobs
from tests import cast
from tests.conftest import use_settings
from tests.peers.smtp_sink import SmtpSink

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    use_settings(tmp_path, DATABASE_URL=store, DELIVERY_ALLOW="127.0.0.0/8")
    cast.sender()

    def call(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        status = main(["server", *words, "--user", "owner@people.test", "--json"])
        said = capsys.readouterr()
        return status, json.loads(said.out or said.err)

    yield call
    jobs.bind(None)
    config.use(None)


def test_one_is_connected_tried_changed_and_removed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    with SmtpSink(users={"me": "secret"}) as sink:
        status, made = run(
            "add", "smtp", "--name", "Relay", "--config", "host=127.0.0.1", "--config", f"port={sink.port}",
            "--credential", "username=me", "--credential", f"password=@{tmp_path / 'password'}",
            "--quota", "hour=100", "--weight", "70",
        )  # fmt: skip
        assert status == 0
        assert made["config"] == {"host": "127.0.0.1", "port": sink.port, "tls": "opportunistic"}
        assert (made["credentials_set"], made["quotas"]) == (["password", "username"], {"per_hour": 100})
        assert run("test", "relay")[1]["ok"] is True
        status, changed = run("change", "relay", "--status", "paused", "--quota", "hour=none", "--config", "tls=off")
        assert (status, changed["status"], changed["quotas"]) == (0, "paused", {})
        assert changed["config"] == made["config"] | {"tls": "off"}
        assert run("change", "relay", "--credential", "password=wrong")[0] == 0
        status, tried = run("test", made["id"])
        assert (status, tried["ok"]) == (1, False)
        assert "535" in tried["detail"]
    (listed,) = run("list")[1]
    assert listed["usage"] == {"per_second": None, "per_minute": None, "per_hour": None, "per_day": None}
    assert run("show", "relay")[1]["id"] == made["id"]
    assert run("delete", "relay") == (0, {"id": made["id"], "deleted": True})
    assert run("list")[1] == []


@pytest.mark.parametrize(
    ("words", "slug"),
    [
        (("add", "smtp"), "invalid_parameter"),
        (("add", "smtp", "--config", "host"), "invalid_parameter"),
        (("add", "mx", "--quota", "hour=many"), "invalid_parameter"),
        (("add", "mx", "--quota", "week=1"), "invalid_parameter"),
        (("add", "resend", "--credential", "api_key=@/nowhere/at/all"), "invalid_parameter"),
        (("add", "pigeon"), "usage"),
        (("show", "nobody"), "not_found"),
    ],
)
def test_refusals_have_a_slug_and_a_status(run: Run, words: tuple[str, ...], slug: str) -> None:
    status, told = run(*words)
    assert status != 0
    assert told["error"] == slug


def test_a_provider_has_a_hook_and_options_of_any_type(run: Run) -> None:
    status, made = run(
        "add", "mailgun", "--config", "domain=shop.test", "--config", "timeout=30", "--config", "tracking=true",
        "--credential", "api_key=k", "--reports",
    )  # fmt: skip
    assert status == 0, made
    assert made["config"] == {"domain": "shop.test", "region": "us", "timeout": 30, "tracking": True}
    assert made["hook_url"].endswith(f"/hooks/mailgun/{made['id']}")
