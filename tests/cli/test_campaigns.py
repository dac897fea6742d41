"""`commandpost campaign`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import main
from gateway import config, jobs
from gateway.services import campaign_launches, campaigns, expansions, lists, subscribers
from gateway.services.campaigns import Campaign
from tests import cast
from tests.conftest import use_settings


@pytest.fixture(autouse=True)
def world(store: str, tmp_path: Path) -> Iterator[None]:
    use_settings(tmp_path, DATABASE_URL=store)
    yield
    jobs.bind(None)
    config.use(None)


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["campaign", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


def _launched() -> Campaign:
    who = cast.sender()
    news = lists.add(caller=who.owner, name="News")
    subscribers.add(caller=who.owner, list_id=news.id, email="jane@friends.test")
    given = {"name": "Spring", "from": "a@shop.test", "subject": "Hi", "text": "Hi", "list_id": str(news.id)}
    made = campaigns.add(caller=who.owner, given=given)
    return campaign_launches.launch(caller=who.owner, campaign=made)


def test_a_campaign_is_listed_paused_resumed_and_canceled(capsys: pytest.CaptureFixture[str]) -> None:
    campaign = _launched()
    status, out, _ = _run(capsys, "list", "--user", "owner@people.test", "--json")
    (listed,) = json.loads(out)["campaigns"]
    assert status == 0
    assert (listed["id"], listed["status"], listed["recipients"], listed["pending"]) == (
        campaign.public_id, "sending", 1, 1,
    )  # fmt: skip
    assert "Spring" in _run(capsys, "list", "--user", "owner@people.test")[1]
    assert json.loads(_run(capsys, "pause", campaign.public_id, "--json")[1])["status"] == "paused"
    assert _run(capsys, "pause", campaign.public_id)[0] == 1
    assert expansions.drain(1) == 0
    assert _run(capsys, "resume", campaign.public_id)[1] == f"{campaign.public_id} is sending\n"
    assert json.loads(_run(capsys, "cancel", campaign.public_id, "--json")[1])["status"] == "canceled"
    assert _run(capsys, "list", "--user", "owner@people.test", "--status", "sending")[1] == "no campaign\n"


def test_refusals_have_a_slug_and_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = _run(capsys, "pause", "cmp_01KAV3R9T7E4Q8N2M6P0S5W1XY", "--json")
    assert (status, json.loads(err)["error"]) == (1, "campaign_not_found")
    assert _run(capsys, "list", "--user", "nobody@people.test")[0] == 1
