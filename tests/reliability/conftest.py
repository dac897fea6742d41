"""How long, and where the figures go."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

LONG = int(os.environ.get("COMMANDPOST_TEST_LONG") or 0)
"""0 is the short form, of seconds; 1 the long one, of minutes; N goes on N times as long as that."""


def times(short: int, long: int) -> int:
    """How often to do a thing: `short` in `make test`, `long` in `make reliability`."""
    return long * LONG if LONG else short


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line of figures past pytest's capture when the long form runs."""

    def say(line: str) -> None:
        if LONG:
            with capsys.disabled():
                sys.stdout.write(f"\n  {line}\n")

    return say
