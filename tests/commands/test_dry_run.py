"""`DryRun` on `EmailGateway.SendEmail`: the forecast, and a refusal with the gate that made it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import models
from commands.dispatch import dispatch
from gateway.services import apis
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer

MAIL = {
    "subject": "Hi",
    "contenttype": "plain",
    "plaincontent": "Hi",
    "from": {"email": "hello@shop.test", "name": "Shop"},
    "to": [{"email": "jane@friends.test", "name": "Jane"}],
}


@pytest.fixture
def key(store: str, tmp_path: Path) -> Iterator[str]:
    with DnsServer() as dns:
        use_settings(tmp_path, DNS=dns.address)
        who = cast.sender()
        yield apis.add(caller=who.owner, domain_id=who.domain.id, description="dry").key


def _send(key: str, **changed: Any) -> dict[str, Any]:
    fields = {"command": "EmailGateway.SendEmail", "senderapikey": key, "dryrun": "1", **MAIL, **changed}
    answer = dispatch(fields, ip="127.0.0.1", request_id="test")
    assert answer.status == 200
    return answer.body


def test_the_forecast(key: str) -> None:
    told = _send(key)
    assert (told["Success"], told["ErrorCode"], told["DryRun"], told["Decision"]) == (True, 0, True, "accepted")
    assert "MessageID" not in told
    assert [one["Fate"] for one in told["Recipients"]] == ["sent"]
    assert told["RenderedHeaders"].startswith("DKIM-Signature: ")
    assert told["Alignment"]["From"] == "shop.test"
    assert models.Message.select().count() == models.Event.select().count() == 0


def test_a_refusal(key: str) -> None:
    told = _send(key, subject="", to=[])
    assert (told["Success"], [one["Code"] for one in told["Errors"]]) == (False, [8, 20])
    assert (told["DryRun"], told["Decision"]) == (True, "refused")
    assert [(one["Gate"], one["Decision"]) for one in told["Verdicts"]] == [("validation", "refused")]
    assert "Verdicts" not in _send(key, subject="", dryrun="0")
