"""Fixtures of whole installations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An installation on the embedded default, not started."""
    made = Installation(tmp_path / "var")
    yield made
    made.close()
