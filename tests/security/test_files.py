"""What an installation keeps on disk is for its own user only."""

from __future__ import annotations

import pytest

from gateway import config, vault
from tests.conftest import use_settings
from tests.security.conftest import Target


def test_nothing_in_data_is_readable_by_others(target: Target) -> None:
    data = target.installation.data
    kept = [path for path in data.rglob("*") if path != target.installation.log]  # the log is the test's
    assert {"secret", "commandpost.db", "journal"} <= {path.name for path in kept}
    open_ = [str(path.relative_to(data)) for path in kept if path.exists() and path.stat().st_mode & 0o077]
    assert open_ == []


def test_a_secret_that_everybody_can_read_is_refused(tmp_path, settings) -> None:  # type: ignore[no-untyped-def]
    use_settings(tmp_path, SECRET="")
    vault._secrets.cache_clear()
    vault.fingerprint("x")
    path = tmp_path / "secret"
    assert path.stat().st_mode & 0o777 == 0o600
    for mode, refused in ((0o604, True), (0o640, False), (0o600, False)):
        path.chmod(mode)
        vault._secrets.cache_clear()
        if refused:
            with pytest.raises(config.ConfigError, match="chmod"):
                vault.fingerprint("x")
        else:
            vault.fingerprint("x")
