"""GetRetention and SetRetention, and a message that says for how long it is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from commands.sending import fields
from commands.sending.faults import Faults
from gateway import clock
from gateway.services import messages
from models import database as db
from tests import cast
from tests.commands.conftest import Call


def test_an_account_s_days(who: cast.Sender, call: Call) -> None:
    assert call("GetRetention")["Retention"] == {"Body": 30, "Metadata": 365}
    assert call("SetRetention", Body=0)["Retention"] == {"Body": 0, "Metadata": 365}
    assert call("SetRetention", Metadata=90)["Retention"] == {"Body": 0, "Metadata": 90}
    assert call("GetRetention")["Retention"] == {"Body": 0, "Metadata": 90}
    assert call("SetRetention", Body=-1)["ErrorCode"] == 1
    assert call("SetRetention", Metadata=0)["ErrorCode"] == 2
    assert call("SetRetention", Reset=1)["Retention"] == {"Body": 30, "Metadata": 365}


def test_a_message_s_days(who: cast.Sender) -> None:
    before = clock.now_ms()
    draft = replace(cast.draft(), keep_body_days=0, keep_metadata_days=3)
    messages.accept(who.caller, draft)
    rows = db.rows("SELECT part, due_ms FROM retention_due ORDER BY part")
    assert [part for part, _ in rows] == [1, 2]
    for (_, due_ms), days in zip(rows, (0, 3), strict=True):
        assert before <= due_ms - days * clock.DAY_MS <= clock.now_ms()
    messages.accept(who.caller, cast.draft())
    assert len(db.rows("SELECT part FROM retention_due")) == 2


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (None, (None, None)),
        ({"Body": 7}, (7, None)),
        ({"body": 0, "METADATA": 1}, (0, 1)),
        ('{"Metadata": 90}', (None, 90)),
        ({"Metadata": 0}, None),
        ({"Body": -1}, None),
        ({"Body": True}, None),
        ({"Body": "7"}, None),
        ({"Bodies": 7}, None),
        ([7], None),
        ("7", None),
    ],
)
def test_the_field(value: Any, read: tuple[int | None, int | None] | None) -> None:
    faults = Faults()
    found = fields._retention(value, faults)
    if read is None:
        assert faults
    else:
        assert (found, bool(faults)) == (read, False)
