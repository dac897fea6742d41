"""What the tests with other people's servers share."""

from __future__ import annotations

import os
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


@pytest.fixture(autouse=True)
def readable() -> Iterator[None]:
    """What the command line was called for in this process before may have left a mask that shuts those servers out."""
    before = os.umask(0o022)
    yield
    os.umask(before)
