"""What the tests with other people's servers share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that servers which are not root may read; pytest closes its own whenever another run begins."""
    with tempfile.TemporaryDirectory(prefix="commandpost-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
