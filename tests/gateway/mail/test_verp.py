"""Return paths: only what we made is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import config
from gateway.mail import address, verp
from tests.conftest import use_settings


@pytest.mark.parametrize("number", [0, 1, 255, 256, 10**9, 2**40, 2**63 - 1])
def test_round_trip(settings: config.Settings, number: int) -> None:
    made = verp.encode(number, "bounce.example.com")
    local, _, host = made.partition("@")
    assert host == "bounce.example.com" and local.startswith("b+") and len(local) <= 64
    assert address.check(made) == made
    for text in (made, made.upper(), f"<{made}>", f"{local}@elsewhere.test"):
        assert verp.decode(text) == number


def test_every_changed_character_is_noticed(settings: config.Settings) -> None:
    made = verp.encode(123456789, "b.test")
    end = made.index("@")
    for position in range(2, end):
        for replacement in "a7":
            changed = made[:position] + replacement + made[position + 1 :]
            if changed != made:
                assert verp.decode(changed) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "b+@b.test",
        "b+aaaa@b.test",
        "jane@example.com",
        "b+" + "a" * 24,
        "b+" + "é" * 24 + "@x",
        "b+" + "a" * 500 + "@x",
    ]
    + ["b+" + "a" * size + "@b.test" for size in range(1, 40)],
)
def test_what_we_did_not_make(settings: config.Settings, text: str) -> None:
    assert verp.decode(text) is None


def test_tokens_survive_a_rotated_secret_and_not_a_foreign_one(tmp_path: Path) -> None:
    use_settings(tmp_path, SECRET="old-secret")
    made = verp.encode(7, "b.test")
    use_settings(tmp_path, SECRET="new-secret,old-secret")
    assert verp.decode(made) == 7
    use_settings(tmp_path, SECRET="another-secret")
    assert verp.decode(made) is None
    config.use(None)
