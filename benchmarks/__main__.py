"""`python -m benchmarks`: start whole installations, load them, print rates, latencies and ratios.

Every figure stands beside peers measured in the same run, because the speed of a machine drifts from
hour to hour: a bare server of the same kind that stores one synced row a request and does nothing else,
and Postfix with opendkim where they are installed and may be started.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import bulk, scenarios, world
from tests.conftest import mysql_admin, mysql_url

_SCENARIOS = ("sending", "accepting", "bulk", "submitting", "webhooks")


@contextmanager
def _mariadb() -> Iterator[dict[str, str]]:
    """Settings for an empty database of our own, dropped at the end."""
    name = f"commandpost_test_bench_{os.getpid():x}"
    mysql_admin(f"CREATE DATABASE `{name}`")
    try:
        yield {"DATABASE_URL": mysql_url(name)}
    finally:
        mysql_admin(f"DROP DATABASE `{name}`")


def _run(name: str, folder: Path, options: argparse.Namespace, **settings: str) -> None:
    def connections(default: list[int]) -> list[int]:
        return options.connections or default

    if name == "sending":
        scenarios.sending(folder, options.messages, connections([10, 50]), **settings)
    elif name == "accepting":
        scenarios.accepting(folder, options.messages, connections([10, 16, 50]), **settings)
    elif name == "bulk":
        bulk.service(folder / "service", max(1, options.messages // bulk.SIZE * 10), **settings)
        bulk.http(folder / "http", max(1, options.messages // bulk.SIZE * 10), connections([1, 2, 4]), **settings)
    elif name == "submitting":
        scenarios.submitting(folder, options.messages, connections([10, 50]), **settings)
    else:
        scenarios.webhooks(folder, options.messages, **settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"of {', '.join(_SCENARIOS)}; default: all")
    parser.add_argument("--messages", type=int, default=3000, help="of each measurement")
    parser.add_argument("--connections", type=int, action="append", help="default: 10, 16 and 50")
    parser.add_argument("--mariadb", action="store_true", help="also on the server of COMMANDPOST_TEST_DATABASE_URL")
    options = parser.parse_args()
    for name in options.scenario:
        if name not in _SCENARIOS:
            parser.error(f"no such scenario: {name}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    folder = Path(tempfile.mkdtemp(prefix="commandpost-bench-", dir=Path.cwd()))
    try:
        for name in options.scenario or _SCENARIOS:
            print(f"{name}: SQLite, embedded broker, {options.messages} messages of {len(world.HTML)} bytes")
            _run(name, folder / name, options)
            if options.mariadb:
                print(f"{name}: MariaDB, embedded broker")
                with _mariadb() as settings:
                    _run(name, folder / f"{name}-mariadb", options, **settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
