"""`commandpost limit`."""

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
    use_settings(tmp_path, DATABASE_URL=store)
    yield
    jobs.bind(None)
    config.use(None)


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["limit", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_limit_is_added_listed_pinned_and_canceled(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(capsys, "list") == (0, "nothing is limited\n", "")
    status, out, _ = _run(capsys, "add", "mx", "yahoo", "rate", "30", "--minutes", "60", "--cause", "agreed", "--json")
    made = json.loads(out)
    assert status == 0
    assert (made["target"], made["kind"], made["value"], made["active"]) == ("yahoo", "rate", 30, True)
    assert made["until"]
    assert "30 a minute" in _run(capsys, "list")[1]
    assert json.loads(_run(capsys, "list", "--json")[1]) == {"limits": [made]}
    assert json.loads(_run(capsys, "pin", str(made["id"]), "--json")[1])["until"] is None
    assert json.loads(_run(capsys, "pin", str(made["id"]), "--off", "--json")[1]) == made
    gone = json.loads(_run(capsys, "cancel", str(made["id"]), "--json")[1])
    assert gone == {"canceled": made["id"], "released": 0}
    assert "canceled 20" in _run(capsys, "list", "--ended")[1]


@pytest.mark.parametrize(
    ("words", "slug"),
    [
        (("cancel", "987654"), "limit_not_found"),
        (("pin", "987654"), "limit_not_found"),
        (("add", "mx", "yahoo", "rate"), "invalid_parameter"),
        (("add", "planet", "yahoo", "pause"), "usage"),
    ],
)
def test_refusals_have_a_slug_and_a_status(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], slug: str
) -> None:
    status, out, err = _run(capsys, *words, "--json")
    assert status != 0 and out == ""
    assert json.loads(err)["error"] == slug
