"""`commandpost warmup`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import main
from gateway import config, jobs
from tests.conftest import use_settings


@pytest.fixture(autouse=True)
def world(store: str, tmp_path: Path) -> Iterator[None]:
    use_settings(tmp_path, DATABASE_URL=store, SOURCE_ADDRESSES="192.0.2.1=mx.gateway.test,192.0.2.2")
    yield
    jobs.bind(None)
    config.use(None)


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["warmup", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_source_address_is_added_listed_and_ended(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(capsys, "list") == (0, "no source address is warmed up\n", "")
    status, out, _ = _run(capsys, "add", "192.0.2.1", "--first", "5", "--goal", "50", "--json")
    assert (status, json.loads(out)) == (0, {"source": "192.0.2.1", "daily_limit": 5, "goal": 50})
    assert "192.0.2.1" in _run(capsys, "list")[1]
    (row,) = json.loads(_run(capsys, "list", "--json")[1])["warmups"]
    assert (row["provider"], row["daily_limit"], row["done"], row["health"]) == ("", 5, False, None)
    assert "warmup_exists" in _run(capsys, "add", "192.0.2.1", "--json")[2]
    assert _run(capsys, "end", "192.0.2.1")[0] == 0
    assert json.loads(_run(capsys, "list", "--json")[1])["warmups"][0]["done"] is True


@pytest.mark.parametrize("words", [("add", "192.0.2.9"), ("add", "192.0.2.1", "--first", "0"), ("end", "192.0.2.1")])
def test_what_is_wrong_is_told(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    status, _, said = _run(capsys, *words)
    assert status != 0
    assert said
