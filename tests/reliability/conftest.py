"""How long, and where the figures go."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

LONG = int(os.environ.get("COMMANDPOST_TEST_LONG") or 0)


@pytest.fixture
def rounds() -> int:
    """How often each kind of process is killed: once; six times with COMMANDPOST_TEST_LONG=1, N times with N."""
    return 6 if LONG == 1 else max(1, LONG)


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line of figures past pytest's capture when the long form runs."""

    def say(line: str) -> None:
        if LONG:
            with capsys.disabled():
                sys.stdout.write(f"\n  {line}\n")

    return say
