"""How long, and where the figures go."""

from __future__ import annotations

import os

import pytest

LONG = bool(os.environ.get("COMMANDPOST_TEST_LONG"))


@pytest.fixture
def rounds() -> int:
    """How often each kind of process is killed: once, or more in the long form."""
    return 6 if LONG else 1


@pytest.fixture
def report(record_property: object, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Print a line of figures past pytest's capture when the long form runs."""

    def say(line: str) -> None:
        if LONG:
            with capsys.disabled():
                print(f"\n  {line}")

    return say
