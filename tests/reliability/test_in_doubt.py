"""A kill between the last byte of a message and its reply: sent again with the same Message-ID, or held."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import requests

from models.vocabulary import DeliveryState
from tests.cli.installation import wait_for
from tests.peers.smtp_sink import HANG
from tests.reliability.world import ACCOUNT_KEY, World

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]


def _send(world: World, name: str) -> str:
    """Hand in a message; its MessageID."""
    answer = requests.post(
        f"{world.installation.url}/api/v1/email",
        json={
            "Subject": "t1",
            "ContentType": "plain",
            "PlainContent": "Thank you.",
            "From": {"email": "hello@shop.test", "name": "The Shop"},
            "To": [{"email": f"{name}@friends.test", "name": name}],
        },
        headers={"Authorization": f"Bearer {world.stream.key}"},
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["MessageID"])


def _kill_before_the_reply(world: World, *names: str) -> list[str]:
    """The MessageIDs of messages that were at the remote, unanswered, when their process died."""
    world.sink.always("end", HANG)
    sent = [_send(world, name) for name in names]
    world.sink.wait_for_transactions(len(names), timeout=20)
    os.kill(world.parts()["deliver"], signal.SIGKILL)
    world.sink.behave()
    wait_for(lambda: _count(world, "attempt WHERE outcome = 'in_doubt'") == len(names), "all are in doubt", seconds=20)
    return sent


def _count(world: World, what: str) -> int:
    return int(world.rows(f"SELECT COUNT(*) FROM {what}")[0][0])


def _state(world: World, name: str) -> DeliveryState:
    return DeliveryState(world.rows(f"SELECT state FROM delivery WHERE rcpt = '{name}@friends.test'")[0][0])


def _copies(world: World, name: str) -> list[str]:
    """The Message-ID of each copy that reached the sink."""
    found = [one.data for one in world.sink.transactions if one.rcpts == [f"{name}@friends.test"]]
    return [re.findall(rb"^Message-ID: <(\S+)@shop.test>", data, re.MULTILINE)[0].decode() for data in found]


def _ask(world: World, command: str, **parameters: Any) -> dict[str, Any]:
    answer: dict[str, Any] = world.installation.command(f"EmailGateway.{command}", APIKey=ACCOUNT_KEY, **parameters)
    assert answer["Success"], answer
    return answer


def test_by_default_it_is_sent_again_as_the_same_message(tmp_path: Path) -> None:
    with World(tmp_path / "var") as world:
        (sent,) = _kill_before_the_reply(world, "jane")
        told = _ask(world, "ExplainMessage", MessageID=sent)
        (delivery,) = told["Deliveries"]
        assert (delivery["State"], delivery["Attempts"][0]["Outcome"]) == ("deferred", "in_doubt")
        assert delivery["NextAttemptAt"]
        assert "the process that held it ended" in told["Explanation"]
        world.write(f"UPDATE delivery SET due_ms = 1 WHERE state = {int(DeliveryState.DEFERRED)}")
        wait_for(lambda: _state(world, "jane") is DeliveryState.DELIVERED, "delivered", seconds=20)
        assert _copies(world, "jane") == [sent, sent]


def test_it_may_be_held_until_a_person_decides(tmp_path: Path) -> None:
    with World(tmp_path / "var", IN_DOUBT="hold") as world:
        names = ("jane", "bob", "carl", "dora")
        sent = dict(zip(names, _kill_before_the_reply(world, *names), strict=True))
        assert {_state(world, name) for name in names} == {DeliveryState.HELD}
        told = _ask(world, "ExplainMessage", MessageID=sent["jane"])
        assert "is held for a person" in told["Explanation"]
        assert _ask(world, "GetHeldMessages")["TotalHeld"] == 4
        cli = world.installation.cli
        shown = cli("queue", "held", "--user", "jane@people.test")
        assert (shown["total"], {row["message_id"] for row in shown["held"]}) == (4, set(sent.values()))
        # Held is not overdue, and doctor sees nothing wrong in it.
        assert world.overdue() == 0
        assert world.doctor()["deliveries"]

        assert cli("queue", "release", sent["jane"]) == {"released": 1}
        assert _ask(world, "ReleaseMessage", MessageID=sent["bob"])["ReleasedDeliveries"] == 1
        assert cli("queue", "fail", sent["carl"]) == {"failed": 1}
        assert _ask(world, "FailMessage", MessageID=sent["dora"])["FailedDeliveries"] == 1
        for name in ("jane", "bob"):
            wait_for(lambda: _state(world, name) is DeliveryState.DELIVERED, f"{name} has it", seconds=20)  # noqa: B023
            assert _copies(world, name) == [sent[name]] * 2
        for name in ("carl", "dora"):
            assert _state(world, name) is DeliveryState.FAILED
            assert _copies(world, name) == [sent[name]]
        failed = world.rows("SELECT data FROM event WHERE kind = 6")
        assert [json.loads(data)["in_doubt"] for (data,) in failed] == [True, True]
        assert cli("queue", "held") == {"total": 0, "held": []}
        with pytest.raises(RuntimeError, match="no such message"):
            cli("queue", "release", "0190163d-8694-739b-aea5-966c26f8ad91")
