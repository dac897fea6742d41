"""`commandpost explain`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import main
from gateway import config, jobs
from gateway.services import messages
from tests import cast
from tests.conftest import use_settings


@pytest.fixture(autouse=True)
def world(store: str, tmp_path: Path) -> Iterator[None]:
    use_settings(tmp_path, DATABASE_URL=store)
    yield
    jobs.bind(None)
    config.use(None)


def test_the_operator_reads_why(capsys: pytest.CaptureFixture[str]) -> None:
    accepted = messages.accept(cast.sender().caller, cast.draft())
    assert main(["explain", accepted.message_id, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["explanation"].startswith("Accepted for")
    assert [one["gate"] for one in told["verdicts"]][:2] == ["auth", "idempotency"]
    assert [one["state"] for one in told["deliveries"]] == ["queued"]
    assert main(["explain", f"<{accepted.message_id}@shop.test>"]) == 0
    assert told["explanation"] in capsys.readouterr().out


def test_an_unknown_message_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "0190aaaa-0000-7000-8000-000000000000"]) != 0
    assert "no such message" in capsys.readouterr().err
